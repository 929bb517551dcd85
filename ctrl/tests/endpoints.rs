//! Endpoints that come and go: views are brought up to date as if they were made anew, at a cost that does not grow with them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dromon_core::config::model::Kind;
use dromon_core::rng::Rng;
use dromon_ctrl::local::{Gateway, Local, Port, Workload};
use dromon_ctrl::source::folder::{Batch, Change, FileState};
use dromon_ctrl::store::Store;

const SERVICES: usize = 1_000;
const ENDPOINTS_EACH: usize = 10;
const GATEWAY: &str = "gateway~gateway.default";

fn change(file: &str, text: &str) -> Change {
    Change { file: file.to_owned(), state: FileState::Text(Arc::from(text)) }
}

/// The endpoints of a service; `down` of them are not ready.
fn slice(service: usize, down: usize) -> String {
    let mut text = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{service}-x, labels: {{kubernetes.io/service-name: s{service}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints:\n"
    );
    for copy in 0..ENDPOINTS_EACH {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + (service * ENDPOINTS_EACH + copy) as u32);
        writeln!(text, "- {{addresses: [{address}], conditions: {{ready: {}}}, targetRef: {{kind: Pod, name: p-{copy}}}}}", copy >= down).unwrap();
    }
    text
}

fn world() -> Store {
    let mut rules = String::from(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec: {servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}]}\n",
    );
    let mut changes = Vec::new();
    for at in 0..SERVICES {
        write!(
            rules,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{at}}}\nspec: {{ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{at}}}\nspec: {{hosts: [s{at}.example], gateways: [gate], http: [{{match: [{{uri: {{prefix: /a}}}}], route: [{{destination: {{host: s{at}}}}}]}}, {{route: [{{destination: {{host: s{at}}}}}]}}]}}\n"
        )
        .unwrap();
        changes.push(change(&format!("slice-{at}.yaml"), &slice(at, 0)));
    }
    changes.push(change("rules.yaml", &rules));
    let (mut store, found) = Store::new(&Batch { changes, notes: Vec::new() }, &BTreeMap::new());
    assert_eq!(found, []);
    let bind = [127, 0, 0, 1].into();
    let (name, namespace) = ("gateway".to_owned(), "default".to_owned());
    let gateway =
        Gateway { name, namespace, bind, ports: [(80, 8080)].into(), refused_below: 0, admin: None };
    store.apply_local(Local { revision: 1, gateway: Some(gateway), ..Local::default() });
    store.rebuild();
    store
}

/// Time that this thread has spent on a processor: other work on the machine does not count.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux kernel with schedstat");
    let nanos = text.split(' ').next().and_then(|it| it.parse().ok()).expect("nanoseconds come first");
    Duration::from_nanos(nanos)
}

#[test]
fn a_change_of_one_services_endpoints_recompiles_that_service_only() {
    let mut store = world();
    let first = store.view(GATEWAY).expect("the gateway is known");
    assert_eq!(first.all(Kind::Endpoints).count(), SERVICES);
    let mut least = [Duration::MAX; 3];
    for round in 0..6 {
        let mut clock = |at: usize, work: &mut dyn FnMut()| {
            let start = on_cpu();
            work();
            least[at] = least[at].min(on_cpu() - start);
        };
        let batch =
            Batch { changes: vec![change("slice-500.yaml", &slice(500, 1 + round % 2))], notes: Vec::new() };
        clock(0, &mut || {
            store.apply_folder(&batch);
            store.rebuild();
        });
        clock(1, &mut || drop(store.view(GATEWAY)));
        // Another rule for comparison: everything is translated.
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: other}}\nspec: {{ports: [{{port: {}}}]}}\n",
            81 + round
        );
        store.apply_folder(&Batch { changes: vec![change("other.yaml", &text)], notes: Vec::new() });
        store.rebuild();
        clock(2, &mut || drop(store.view(GATEWAY)));
    }
    let [rebuilt, patched, translated] = least;
    println!("index {rebuilt:?}, view brought up to date {patched:?}, view made anew {translated:?}");
    assert!(patched * 5 < translated, "{patched:?} against {translated:?}");
}

/// A small mesh in which anything about endpoints may change.
struct Small {
    files: BTreeMap<String, String>,
    local: Local,
}

impl Small {
    fn new() -> Small {
        let mut rules = String::from(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: gate}\nspec: {servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}]}\n",
        );
        for at in 0..6 {
            let selector = match at {
                0 | 1 => format!("selector: {{app: s{at}}}, "),
                2 => "clusterIP: None, ".to_owned(),
                _ => String::new(),
            };
            write!(
                rules,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{at}}}\nspec: {{{selector}ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n\
                 apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: s{at}}}\nspec: {{host: s{at}, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\n---\n\
                 apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{at}}}\nspec: {{hosts: [s{at}], gateways: [gate, mesh], http: [{{route: [{{destination: {{host: s{at}, subset: v1}}, weight: 50}}, {{destination: {{host: s{at}}}, weight: 50}}]}}]}}\n"
            )
            .unwrap();
        }
        rules += "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: chosen}\nspec: {hosts: [chosen.example], resolution: STATIC, location: MESH_INTERNAL, ports: [{number: 80, name: http, protocol: HTTP}], workloadSelector: {labels: {app: entry}}}\n";
        let bind = [127, 0, 0, 1].into();
        let (name, namespace) = ("gateway".to_owned(), "default".to_owned());
        let gateway =
            Gateway { name, namespace, bind, ports: [(80, 8080)].into(), refused_below: 0, admin: None };
        let workload = |at: u8| Workload {
            name: format!("s{}-{at}", at % 2),
            namespace: "default".into(),
            labels: [
                ("app".to_owned(), format!("s{}", at % 2)),
                ("version".to_owned(), format!("v{}", at / 2)),
            ]
            .into(),
            service_account: format!("account-{at}"),
            sidecar: [127, 77, 0, at + 1].into(),
            application: [127, 78, 0, at + 1].into(),
            ports: vec![Port { name: "http".into(), number: 8080 }],
            ready: true,
            admin: None,
            mtls: at > 0,
            captured: false,
        };
        let workloads = (0..4).map(workload).collect();
        let local = Local { revision: 1, gateway: Some(gateway), workloads, ..Local::default() };
        Small { files: [("rules.yaml".to_owned(), rules)].into(), local }
    }

    /// Changes something, mostly endpoints; returns the files that changed.
    fn step(&mut self, rng: &mut Rng, version: u64) -> Option<String> {
        let at = 2 + rng.below(4) as usize;
        match rng.below(6) {
            0 => {
                let chosen = rng.below(self.local.workloads.len() as u32) as usize;
                let workload = &mut self.local.workloads[chosen];
                workload.ready = !workload.ready;
                self.local.revision = version;
                None
            }
            1 => {
                let file = format!("entry-{}.yaml", rng.below(3));
                let text = format!(
                    "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {}}}\nspec: {{address: 10.9.0.{}, labels: {{app: entry}}, weight: {}}}\n",
                    file.trim_end_matches(".yaml"),
                    rng.below(9) + 1,
                    rng.below(3) + 1
                );
                self.files.insert(file.clone(), text);
                Some(file)
            }
            2 => {
                let file = self.files.keys().nth(rng.below(self.files.len() as u32) as usize)?.clone();
                (file != "rules.yaml").then(|| self.files.remove(&file)).flatten()?;
                Some(file)
            }
            3 if rng.below(4) == 0 => {
                // Now and then a rule, so that both ways are taken in turns.
                let rules = self.files.get_mut("rules.yaml")?;
                *rules = rules.replace("weight: 50", "weight: 51").replacen("weight: 51", "weight: 50", at);
                Some("rules.yaml".to_owned())
            }
            _ => {
                let file = format!("slice-{at}.yaml");
                self.files.insert(file.clone(), slice(at, rng.below(10) as usize));
                Some(file)
            }
        }
    }

    fn batch(&self, files: impl IntoIterator<Item = String>) -> Batch {
        let state = |file: &String| match self.files.get(file) {
            Some(text) => FileState::Text(Arc::from(text.as_str())),
            None => FileState::Removed,
        };
        let changes = files.into_iter().map(|file| Change { state: state(&file), file }).collect();
        Batch { changes, notes: Vec::new() }
    }

    /// A store that has never known anything else.
    fn anew(&self) -> Store {
        let (mut store, _) = Store::new(&self.batch(self.files.keys().cloned()), &BTreeMap::new());
        store.apply_local(self.local.clone());
        store.rebuild();
        store
    }
}

#[test]
fn a_view_brought_up_to_date_is_the_view_made_anew() {
    let proxies = [GATEWAY, "sidecar~s0-0.default", "sidecar~s1-1.default"];
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut small = Small::new();
        let mut store = small.anew();
        for version in 2..18 {
            // Some proxies look at every version, some at a few.
            for proxy in &proxies[..1 + rng.below(3) as usize] {
                store.view(proxy).expect("known");
            }
            if let Some(file) = small.step(&mut rng, version) {
                store.apply_folder(&small.batch([file]));
            }
            store.apply_local(small.local.clone());
            store.rebuild();
            let mut anew = small.anew();
            for proxy in proxies {
                let (kept, made) = (store.view(proxy).expect("known"), anew.view(proxy).expect("known"));
                assert!(kept.same_as(&made), "seed {seed}, version {version}, {proxy}");
            }
        }
    }
}
