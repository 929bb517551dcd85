//! What the command line takes and refuses.

use super::*;

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    Args::command().debug_assert();
}

#[test]
fn pin_lists_are_read() {
    assert_eq!(Pin::parse("auto"), Ok(Pin::Auto));
    assert_eq!(Pin::parse("off"), Ok(Pin::Off));
    assert_eq!(Pin::parse("0,2-3"), Ok(Pin::List(vec![0, 2, 3])));
    assert!(Pin::parse("x").is_err());
    assert!(Pin::parse("0-").is_err());
    assert!(Pin::parse("0-999999999").is_err());
}

#[test]
fn a_feed_or_a_file_is_needed_and_not_both() {
    assert!(Args::try_parse_from(["dromon-proxy", "--id", "gateway~a.b"]).is_err());
    assert!(Args::try_parse_from(["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json"]).is_ok());
    let both = ["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json", "--feed", "unix:/x"];
    assert!(Args::try_parse_from(both).is_err());
}
