use super::*;
use crate::testing::{authority, id, identity, trust};

#[test]
fn whatever_decides_whom_to_take_keeps_sessions_apart() {
    let authority = authority();
    let own = identity(&authority, "productpage");
    let renewed = identity(&authority, "productpage");
    let options = Options::mesh(&[]);
    let reviews = Allowed::of([id("reviews")]);
    let kind = Kind::mesh_client(&own, &trust(), &reviews, &options);
    assert!(kind == Kind::mesh_client(&own, &trust(), &reviews, &options));
    let others = [
        Kind::mesh_client(&renewed, &trust(), &reviews, &options),
        Kind::mesh_client(&own, &trust(), &Allowed::AnyOfMesh, &options),
        Kind::mesh_client(&own, &trust(), &Allowed::of([id("reviews"), id("ratings")]), &options),
        Kind::mesh_client(&own, &trust(), &reviews, &Options::public(&[])),
        Kind::origination(&Servers::Any, Some(own.credential()), &options),
        Kind::origination(&Servers::Web(own.roots().clone()), Some(own.credential()), &options),
        Kind::origination(&Servers::Named(own.roots().clone(), vec!["a".into()]), None, &options),
        Kind::server(b"a", &Clients::Anyone, &options),
        Kind::server(b"b", &Clients::Anyone, &options),
        Kind::server(b"a", &Clients::Mesh { roots: own.roots().clone(), trust: trust() }, &options),
    ];
    for (place, one) in others.iter().enumerate() {
        assert!(*one != kind && !others[..place].contains(one), "number {place}");
    }
}

#[test]
fn what_nobody_uses_is_forgotten() {
    let sessions = Sessions::new();
    let own = identity(&authority(), "productpage");
    let client = |name: u32| {
        let allowed = Allowed::of([id(&format!("reviews-{name}"))]);
        crate::tls::client::mesh_client(&own, &trust(), &allowed, &Options::mesh(&[]), &sessions)
            .expect("a client")
    };
    let kept = client(0);
    for name in 1..1_000 {
        client(name);
    }
    let held = sessions.clients.lock().expect("no panic").len();
    assert!(held < 100, "{held} are held");
    assert!(Arc::ptr_eq(&kept, &client(0)));
}
