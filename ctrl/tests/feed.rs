//! The feed over a real socket, with a client that speaks by script.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dromon_core::config::model::{Host, Kind, Resource};
use dromon_core::config::wire::{DeltaRequest, DeltaResponse, Node, STREAM_PATH, Status};
use dromon_ctrl::feed::hub::Hub;
use dromon_ctrl::feed::view::{Pool, View};
use dromon_ctrl::feed::{server, socket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

const WAIT: Duration = Duration::from_secs(5);

struct Server {
    hub: Arc<Hub>,
    wanted: Arc<Mutex<Vec<String>>>,
    log: Arc<Mutex<Vec<String>>>,
    stop: oneshot::Sender<()>,
}

fn serve(path: &Path) -> Server {
    let (wanted, log) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (asked, lines) = (wanted.clone(), log.clone());
    let hub = Hub::new(Box::new(move |proxy| asked.lock().unwrap().push(proxy.to_owned())));
    let listener = socket::listen(path).expect("the socket is free");
    let (stop, stopped) = oneshot::channel::<()>();
    let log_line: server::Log = Arc::new(move |_, line| lines.lock().unwrap().push(line));
    tokio::spawn(server::serve(listener, hub.clone(), log_line, async {
        let _ = stopped.await;
    }));
    Server { hub, wanted, log, stop }
}

struct Client {
    requests: mpsc::Sender<DeltaRequest>,
    responses: Streaming<DeltaResponse>,
}

impl Client {
    async fn connect(path: &Path, proxy: &str, subscribe: &[(Kind, &str)]) -> Client {
        let path = path.to_owned();
        let channel: Channel = Endpoint::from_static("http://feed")
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
            }))
            .await
            .expect("connects");
        let (requests, outgoing) = mpsc::channel(64);
        for (at, (kind, name)) in subscribe.iter().enumerate() {
            let node = (at == 0).then(|| Node { id: proxy.into(), cluster: String::new() });
            let request = DeltaRequest { node, ..subscription(*kind, name) };
            requests.send(request).await.expect("room");
        }
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.expect("ready");
        let codec = tonic_prost::ProstCodec::<DeltaRequest, DeltaResponse>::default();
        let path = http::uri::PathAndQuery::from_static(STREAM_PATH);
        let request = tonic::Request::new(ReceiverStream::new(outgoing));
        let responses = grpc.streaming(request, path, codec).await.expect("a stream").into_inner();
        Client { requests, responses }
    }

    async fn next(&mut self) -> DeltaResponse {
        timeout(WAIT, self.responses.message()).await.expect("in time").expect("no error").expect("open")
    }

    async fn answer(&self, response: &DeltaResponse, error: Option<&str>) {
        let request = DeltaRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| Status { code: 3, message: message.into() }),
            ..DeltaRequest::default()
        };
        self.requests.send(request).await.expect("room");
    }
}

fn subscription(kind: Kind, name: &str) -> DeltaRequest {
    DeltaRequest {
        type_url: kind.type_url().into(),
        resource_names_subscribe: vec![name.into()],
        ..DeltaRequest::default()
    }
}

fn hosts(version: u64, names: &[&str]) -> Option<Arc<View>> {
    let hosts: Vec<Resource> =
        names.iter().map(|name| Resource::Host(Host { name: (*name).into(), ..Host::default() })).collect();
    Some(Arc::new(View::build(version, &hosts, None, &mut Pool::default()).expect("serializes")))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    timeout(WAIT, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn each_proxy_gets_its_own_view_and_what_changes_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.sock");
    let server = serve(&path);
    let mut one = Client::connect(&path, "sidecar~one.default", &[(Kind::Host, "*")]).await;
    let mut two = Client::connect(&path, "sidecar~two.default", &[(Kind::Host, "*")]).await;
    until("both are known", || server.wanted.lock().unwrap().len() == 2).await;
    assert_eq!(*server.hub.proxies(), ["sidecar~one.default", "sidecar~two.default"]);

    server.hub.publish("sidecar~one.default", hosts(1, &["a", "b"]), None);
    server.hub.publish("sidecar~two.default", hosts(1, &["b"]), None);
    let first = one.next().await;
    assert_eq!(first.resources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(first.system_version_info, "1");
    assert_eq!(two.next().await.resources.len(), 1);

    one.answer(&first, None).await;
    server.hub.publish("sidecar~one.default", hosts(2, &["b"]), None);
    let second = one.next().await;
    assert_eq!((second.resources.len(), second.removed_resources.as_slice()), (0, &["a".to_owned()][..]));
}

#[tokio::test]
async fn a_refusal_is_logged_by_name_and_kept_until_better_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.sock");
    let server = serve(&path);
    let mut client = Client::connect(&path, "gateway~g.default", &[(Kind::Host, "*")]).await;
    until("it is known", || !server.wanted.lock().unwrap().is_empty()).await;
    server.hub.publish("gateway~g.default", hosts(3, &["good", "bad"]), None);
    let response = client.next().await;
    client.answer(&response, Some("Host bad: address 10.0.0.999 is none")).await;
    until("the refusal arrived", || !server.hub.status()[0].nacks.is_empty()).await;
    let status = server.hub.status();
    assert_eq!(status[0].nacks[0].name, "bad");
    assert_eq!(status[0].synced, Some(3));
    let log = server.log.lock().unwrap().join("\n");
    assert!(log.contains("gateway~g.default refuses Host bad: address 10.0.0.999 is none"), "{log}");
    drop(client);
    until("it is gone", || server.hub.status().is_empty()).await;
}

#[tokio::test]
async fn a_proxy_that_reads_nothing_holds_nobody_back_and_gets_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.sock");
    let server = serve(&path);
    let mut slow = Client::connect(&path, "sidecar~slow.default", &[(Kind::Host, "*")]).await;
    let mut fast = Client::connect(&path, "sidecar~fast.default", &[(Kind::Host, "*")]).await;
    until("both are known", || server.wanted.lock().unwrap().len() == 2).await;
    for version in 1..=2_000u64 {
        let name = format!("host-{version}");
        server.hub.publish("sidecar~slow.default", hosts(version, &[&name]), None);
        server.hub.publish("sidecar~fast.default", hosts(version, &[&name]), None);
        if version % 100 == 0 {
            let mut last = fast.next().await;
            while last.system_version_info != version.to_string() {
                last = fast.next().await;
            }
        }
    }
    let mut messages = 0;
    loop {
        let response = slow.next().await;
        messages += 1;
        if response.system_version_info == "2000" {
            break;
        }
    }
    assert!(messages < 2_000, "{messages} messages: every version was kept for a proxy that did not read");
}

#[tokio::test]
async fn a_stream_that_does_not_say_who_it_is_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.sock");
    let _server = serve(&path);
    let mut client = Client::connect(&path, "", &[(Kind::Host, "*")]).await;
    let error = timeout(WAIT, client.responses.message()).await.unwrap().expect_err("refused");
    assert!(error.message().contains("node.id"), "{error}");
}

#[tokio::test]
async fn a_dead_controllers_socket_is_replaced_and_a_living_ones_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    socket::run_dir(&run).expect("made");
    let path = run.join("feed.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
    let server = serve(&path);
    let error = socket::listen(&path).expect_err("in use").to_string();
    assert!(error.contains("another controller"), "{error}");
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&run), 0o700);
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = socket::run_dir(&open).expect_err("open to others").to_string();
    assert!(error.contains("chmod 700"), "{error}");
    assert_eq!(mode(&open), 0o755, "what was there is left as it is");
    server.stop.send(()).expect("it runs");
}

/// Types and names as proxies of other versions have them: what both ends know travels, of the rest nothing is said.
#[tokio::test]
async fn proxies_of_newer_and_older_versions_get_what_they_know() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.sock");
    let server = serve(&path);
    // A newer one: it says who it is with a type that nobody knows here, and has versions of a form that we never gave.
    let mut newer = Client::connect(&path, "sidecar~newer.default", &[]).await;
    let node = Some(Node { id: "sidecar~newer.default".into(), cluster: String::new() });
    let weather = DeltaRequest {
        node,
        type_url: "type.dromon.io/v3.Weather".into(),
        resource_names_subscribe: vec!["*".into()],
        ..DeltaRequest::default()
    };
    newer.requests.send(weather).await.unwrap();
    let held = [("a".to_owned(), "v3:7f".to_owned()), ("gone".to_owned(), "v3:80".to_owned())];
    let index = DeltaRequest { initial_resource_versions: held.into(), ..subscription(Kind::Host, "*") };
    newer.requests.send(index).await.unwrap();
    // An older one: it asks for two of our types, and never for the others.
    let subscribed = [(Kind::Proxy, "*"), (Kind::Host, "*")];
    let mut older = Client::connect(&path, "sidecar~older.default", &subscribed).await;
    until("both are known", || server.wanted.lock().unwrap().len() == 2).await;
    for proxy in server.hub.proxies().iter() {
        server.hub.publish(proxy, hosts(1, &["a"]), None);
    }
    let first = newer.next().await;
    assert_eq!(first.type_url, Kind::Host.type_url());
    assert_eq!(first.resources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a"]);
    newer.answer(&first, None).await;
    let removed = newer.next().await;
    assert_eq!(removed.removed_resources, ["gone"], "what it had and is not there any more");
    newer.answer(&removed, None).await;
    // It refuses what was never sent, of a type that nobody knows: no reason to end.
    let stray =
        DeltaResponse { type_url: "type.dromon.io/v3.Weather".into(), nonce: "n".into(), ..first.clone() };
    newer.answer(&stray, Some("type.dromon.io/v3.Weather a: no")).await;

    let mut types = Vec::new();
    for _ in 0..2 {
        let response = older.next().await;
        older.answer(&response, None).await;
        types.push(response.type_url);
    }
    types.sort();
    assert_eq!(types, [Kind::Host.type_url(), Kind::Proxy.type_url()]);
    for proxy in server.hub.proxies().iter() {
        server.hub.publish(proxy, hosts(2, &["a", "b"]), None);
    }
    for client in [&mut newer, &mut older] {
        let next = client.next().await;
        assert_eq!(next.resources.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["b"]);
        client.answer(&next, None).await;
    }
    until("both have it", || server.hub.status().iter().all(|it| it.synced == Some(2))).await;
    assert!(server.hub.status().iter().all(|it| it.nacks.is_empty()), "{:?}", server.hub.status());
}
