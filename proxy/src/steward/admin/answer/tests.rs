use super::*;

#[test]
fn orders_come_from_programs_on_this_machine_only() {
    let plain = Request::new(());
    let from = |text: &str| text.parse::<IpAddr>().expect("an address");
    for local in ["127.0.0.1", "127.77.3.4", "::1", "::ffff:127.0.0.1"] {
        assert!(may_order(from(local), &plain), "{local}");
    }
    for other in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"] {
        assert!(!may_order(from(other), &plain), "{other}");
    }
    let mut of_a_page = Request::new(());
    of_a_page.headers_mut().insert(header::ORIGIN, header::HeaderValue::from_static("https://a.example"));
    assert!(!may_order(from("127.0.0.1"), &of_a_page));
}

#[test]
fn every_face_lists_its_pages_and_no_others() {
    assert_eq!(help(Face::Health).lines().count(), 1);
    assert!(help(Face::Stats).starts_with("GET  /stats/prometheus"));
    assert!(!help(Face::Metrics).contains("/config"));
    assert_eq!(help(Face::Admin).lines().count(), PAGES.len());
}
