use std::time::Duration;

use super::*;

#[test]
fn moments_read_as_rfc_3339() {
    for (second, text) in [
        (0, "1970-01-01T00:00:00.007Z"),
        (951_782_400, "2000-02-29T00:00:00.007Z"),
        (1_709_251_199, "2024-02-29T23:59:59.007Z"),
        (4_102_444_800, "2100-01-01T00:00:00.007Z"),
    ] {
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(second * 1_000 + 7)), text);
    }
}

#[test]
fn a_level_lets_more_important_lines_through() {
    assert!(Log::new("warn").level < Log::new("info").level);
    assert_eq!(Log::new("nonsense").level, Level::Info);
}
