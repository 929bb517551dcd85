use super::*;

fn place(name: &str, address: &str) -> Place {
    Place { name: name.into(), address: address.parse().expect("an address") }
}

fn open(places: &[Place]) -> BTreeMap<Arc<str>, SocketAddr> {
    places.iter().map(|place| (place.name.clone(), place.address)).collect()
}

#[test]
fn what_stays_is_left_alone() {
    let places = [place("outbound", "127.0.0.1:15001"), place("inbound/80", "127.0.0.1:80")];
    assert_eq!(plan(&open(&places), &places), Plan::default());
}

#[test]
fn new_ones_open_and_gone_ones_close() {
    let before = [place("a", "127.0.0.1:1"), place("b", "127.0.0.1:2")];
    let after = [place("b", "127.0.0.1:2"), place("c", "127.0.0.1:3")];
    let plan = plan(&open(&before), &after);
    assert_eq!(plan.open, [place("c", "127.0.0.1:3")]);
    assert_eq!(plan.close, ["a".into()]);
    assert!(plan.open_after_close.is_empty());
}

#[test]
fn a_moved_listener_opens_after_its_old_socket_is_closed() {
    let plan = plan(&open(&[place("a", "127.0.0.1:1")]), &[place("a", "127.0.0.1:9")]);
    assert_eq!((plan.close, plan.open), (vec!["a".into()], vec![]));
    assert_eq!(plan.open_after_close, [place("a", "127.0.0.1:9")]);
}

#[test]
fn an_address_taken_over_by_another_name_waits_for_the_close() {
    for (held, wanted, waits) in [
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "[::]:80", true),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80", "127.0.0.1:81", false),
    ] {
        let plan = plan(&open(&[place("old", held)]), &[place("new", wanted)]);
        assert_eq!(plan.open_after_close.len(), usize::from(waits), "{held} then {wanted}");
        assert_eq!(plan.open.len(), usize::from(!waits), "{held} then {wanted}");
    }
}

#[test]
fn a_repeated_name_opens_once() {
    let plan = plan(&open(&[]), &[place("a", "127.0.0.1:1"), place("a", "127.0.0.1:2")]);
    assert_eq!(plan.open, [place("a", "127.0.0.1:1")]);
}
