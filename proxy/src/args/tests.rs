//! What the command line takes and refuses.

use super::*;

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn a_feed_or_a_file_is_needed_and_not_both() {
    assert!(Args::try_parse_from(["dromon-proxy", "--id", "gateway~a.b"]).is_err());
    assert!(Args::try_parse_from(["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json"]).is_ok());
    let both = ["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json", "--feed", "unix:/x"];
    assert!(Args::try_parse_from(both).is_err());
}
