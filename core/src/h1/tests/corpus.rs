//! Replays the seed corpus: each file's name starts with the rule that refuses it, or with `ok`.

use std::path::Path;

use super::{request, response};
use crate::h1::{ChunkDecoder, Mode, Piece};

type Read = fn(&[u8]) -> Result<(), String>;

fn replay(folder: &str, read: Read) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/h1").join(folder);
    let mut count = 0;
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let outcome = match read(&std::fs::read(file.path()).unwrap()) {
            Ok(()) => "ok".to_owned(),
            Err(rule) => rule,
        };
        assert_eq!(name.split('-').next(), Some(outcome.as_str()), "{folder}/{name}");
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}

#[test]
fn requests_of_the_corpus() {
    replay("request", |bytes| request(bytes).map(drop).map_err(|reject| reject.rule.to_string()));
}

#[test]
fn responses_of_the_corpus() {
    replay("response", |bytes| response(bytes, false).map(drop).map_err(|reject| reject.rule.to_string()));
}

#[test]
fn chunked_bodies_of_the_corpus() {
    replay("chunked", |bytes| {
        let (mut decoder, mut cursor) = (ChunkDecoder::new(Mode::Framed), 0);
        while !decoder.is_done() {
            let piece = decoder.next(bytes, &mut cursor).map_err(|reject| reject.rule.to_string())?;
            assert_ne!(piece, Piece::More, "a body of the corpus is whole");
        }
        Ok(())
    });
}
