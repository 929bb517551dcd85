//! A name server that knows a few names, for what lies outside of a cluster under test.

use std::net::{Ipv4Addr, UdpSocket};

/// Answers for names, each with its address, on a socket that is bound; it lives as long as the test's process. Whatever else is
/// asked does not exist.
pub fn serve(socket: UdpSocket, names: &'static [(&'static str, Ipv4Addr)]) {
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(answer) = query.get(..length).and_then(|query| answer(query, names)) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// The answer to a query (RFC 1035); none where it is not one.
fn answer(query: &[u8], names: &[(&str, Ipv4Addr)]) -> Option<Vec<u8>> {
    let mut labels: Vec<String> = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let question = query.get(12..at + 4)?;
    let asked = labels.join(".");
    let known = names.iter().find(|(name, _)| *name == asked).map(|(_, address)| address);
    let is_address = query.get(at..at + 2)? == [0, 1];
    let answers = known.filter(|_| is_address);
    let code = if known.is_some() { 0 } else { 3 };
    let mut text = query.get(..2)?.to_vec();
    // An authoritative answer; recursion is available to nobody.
    text.extend([0x84, code, 0, 1, 0, u8::from(answers.is_some()), 0, 0, 0, 0]);
    text.extend(question);
    if let Some(address) = answers {
        // The question's name, an address of the internet, for five seconds.
        text.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        text.extend(address.octets());
    }
    Some(text)
}
