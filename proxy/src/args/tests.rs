//! What the command line takes and refuses.

use super::*;

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory;
    CommandLine::command().debug_assert();
}

#[test]
fn a_feed_or_a_file_is_needed_and_not_both() {
    assert!(CommandLine::try_parse_from(["dromon-proxy", "--id", "gateway~a.b"]).is_err());
    assert!(
        CommandLine::try_parse_from(["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json"]).is_ok()
    );
    let both = ["dromon-proxy", "--id", "gateway~a.b", "--config", "x.json", "--feed", "unix:/x"];
    assert!(CommandLine::try_parse_from(both).is_err());
}

#[test]
fn a_command_needs_nothing_of_what_serving_needs() {
    let line = CommandLine::try_parse_from(["dromon-proxy", "capture", "--print"]).unwrap();
    assert!(matches!(line.command, Some(Command::Capture(ref args)) if args.print));
    assert!(CommandLine::try_parse_from(["dromon-proxy", "--id", "gateway~a.b", "capture"]).is_err());
}
