use dromon_core::telemetry::Merged;

use super::*;

fn sent_bytes(recorder: &mut Recorder, total: &mut Merged) -> u64 {
    total.add(recorder.take());
    let mut text = String::new();
    total.render(&[], &mut text);
    let lines = text.lines().filter(|line| line.starts_with("istio_tcp_sent_bytes_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn bytes_are_counted_once_while_a_connection_is_open_and_at_its_end() {
    let (flows, mut recorder, mut total) =
        (Flows::default(), Recorder::new(Arc::default()), Merged::default());
    let open: Vec<_> = (0..3).map(|_| flows.open(&Sides::default())).collect();
    for flow in &open {
        flow.carried.down_bytes.set(10);
    }
    flows.count(&mut recorder);
    assert_eq!(sent_bytes(&mut recorder, &mut total), 30);
    flows.count(&mut recorder);
    assert_eq!(sent_bytes(&mut recorder, &mut total), 30, "nothing came meanwhile");
    open[0].carried.down_bytes.set(15);
    flows.close(&open[0]);
    flows.close(&open[0]);
    let (up, down) = open[0].uncounted();
    recorder.tcp_closed(&open[0].sides(), Default::default(), up, down);
    open[2].carried.down_bytes.set(12);
    flows.count(&mut recorder);
    assert_eq!(sent_bytes(&mut recorder, &mut total), 37, "the last of one, and what another has carried on");
    flows.close(&open[2]);
    flows.close(&open[1]);
    assert!(flows.0.borrow().is_empty(), "whatever the order in which they end");
}
