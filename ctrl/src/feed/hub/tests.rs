use dromon_core::config::model::{Resource, VirtualHost};
use futures::FutureExt;

use super::*;
use crate::feed::view::Pool;

fn rules(name: &str, origin: &str) -> Resource {
    let origins = vec![origin.to_owned()];
    Resource::VirtualHost(VirtualHost { name: name.into(), origins, ..VirtualHost::default() })
}

fn subscribe(stream: &Stream, name: &str) {
    let request = DeltaRequest {
        type_url: Kind::VirtualHost.type_url().into(),
        resource_names_subscribe: vec![name.into()],
        ..DeltaRequest::default()
    };
    stream.handle(request).expect("accepted");
}

/// Takes what is to be sent and acknowledges it; the names.
fn take(stream: &Stream) -> Vec<String> {
    let (responses, _) = stream.next();
    for response in &responses {
        let request = DeltaRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaRequest::default()
        };
        stream.handle(request).expect("accepted");
    }
    responses.into_iter().flat_map(|it| it.resources).map(|it| it.name).collect()
}

fn is_woken(stream: &Stream) -> bool {
    stream.woken().now_or_never().is_some()
}

fn synced(hub: &Hub) -> Vec<Option<u64>> {
    hub.status().into_iter().map(|it| it.synced).collect()
}

#[test]
fn a_view_wakes_only_those_that_it_concerns() {
    let hub = Hub::new(Box::new(|_| {}));
    let (one, two) = (hub.open("sidecar~one.default"), hub.open("sidecar~two.default"));
    subscribe(&one, "a");
    subscribe(&two, "b");
    let mut pool = Pool::default();
    let publish = |view: &Arc<View>| {
        for proxy in hub.proxies().iter() {
            hub.publish(proxy, Some(view.clone()), Some(Instant::now()));
        }
    };
    let all = [rules("a", "first"), rules("b", "first")];
    let first = Arc::new(View::build(1, &all, None, &mut pool).expect("serializes"));
    publish(&first);
    assert!(is_woken(&one) && is_woken(&two));
    assert_eq!((take(&one), take(&two)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(synced(&hub), [Some(1), Some(1)]);

    let second = View::patch(2, &[rules("b", "second")], &[], &first, &mut pool).expect("serializes");
    let second = Arc::new(second);
    publish(&second);
    assert!(!is_woken(&one) && is_woken(&two));
    assert_eq!(synced(&hub), [Some(2), Some(1)], "who has nothing to be told has the version");
    assert_eq!(take(&two), ["b"]);
    assert_eq!(synced(&hub), [Some(2), Some(2)]);

    // Somebody who asks for more is sent the latest, whatever went by unsent.
    subscribe(&one, "b");
    assert_eq!(take(&one), ["b"]);
    let third = View::patch(3, &[rules("b", "third")], &[], &second, &mut pool).expect("serializes");
    publish(&Arc::new(third));
    assert!(is_woken(&one) && is_woken(&two));
    assert_eq!((take(&one), take(&two)), (vec!["b".to_owned()], vec!["b".to_owned()]));
    let page = hub.pushes().prometheus();
    assert!(page.contains("dromon_controller_push_seconds_count{stage=\"acknowledged\"} 5"), "{page}");
}

#[test]
fn a_proxy_that_nobody_knows_any_more_is_told_once() {
    let hub = Hub::new(Box::new(|_| {}));
    let stream = hub.open("sidecar~one.default");
    subscribe(&stream, "a");
    let view = View::build(1, &[rules("a", "first")], None, &mut Pool::default()).expect("serializes");
    hub.publish("sidecar~one.default", Some(Arc::new(view)), None);
    assert!(is_woken(&stream));
    assert_eq!(take(&stream), ["a"]);
    hub.publish("sidecar~one.default", None, None);
    assert!(is_woken(&stream));
    assert!(take(&stream).is_empty());
    hub.publish("sidecar~one.default", None, None);
    assert!(!is_woken(&stream));
}
