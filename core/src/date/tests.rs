use super::*;

#[test]
fn days_are_dates() {
    for (days, date) in [
        (0, (1970, 1, 1)),
        (11_016, (2000, 2, 29)),
        (19_782, (2024, 2, 29)),
        (20_779, (2026, 11, 22)),
        (47_482, (2100, 1, 1)),
    ] {
        assert_eq!(civil(days), date);
    }
}
