use super::*;

#[test]
fn buckets_add_up() {
    let pushes = Pushes::default();
    for took_us in [900, 1_000, 1_001, 30_000_000] {
        pushes.observe(Stage::Sent, Duration::from_micros(took_us));
    }
    let page = pushes.prometheus();
    for line in [
        "dromon_controller_push_seconds_bucket{stage=\"sent\",le=\"0.001\"} 2",
        "dromon_controller_push_seconds_bucket{stage=\"sent\",le=\"0.0025\"} 3",
        "dromon_controller_push_seconds_bucket{stage=\"sent\",le=\"10\"} 3",
        "dromon_controller_push_seconds_bucket{stage=\"sent\",le=\"+Inf\"} 4",
        "dromon_controller_push_seconds_sum{stage=\"sent\"} 30.002901",
        "dromon_controller_push_seconds_count{stage=\"sent\"} 4",
        "dromon_controller_push_seconds_count{stage=\"acknowledged\"} 0",
    ] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
}
