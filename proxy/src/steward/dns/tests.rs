use std::path::Path;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::mailbox::mailbox;
use crate::steward::handle::Handle;
use crate::steward::log::Log;
use crate::steward::{Settings, Source};

const DEADLINE: Duration = Duration::from_secs(20);

fn dns(hosts: &Path) -> (Rc<Dns>, mpsc::Receiver<Event>) {
    let (events, inbox) = mpsc::channel(8);
    let settings = Settings {
        certs: None,
        id: "sidecar~a.b".into(),
        role: dromon_core::config::model::Role::Sidecar,
        source: Source::File("/nonexistent".into()),
        state_dir: None,
        admin_addr: ([127, 0, 0, 1], 0).into(),
        metrics_addr: None,
        health_addr: None,
        stats_addr: None,
        drain: Duration::ZERO,
        forget_after: Duration::ZERO,
        log_level: "error".into(),
        application: Default::default(),
        seed: 1,
    };
    let handle = Handle {
        settings,
        status: RefCell::default(),
        totals: RefCell::default(),
        events,
        log: Log::new("error"),
    };
    let lookup = Lookup::new(hosts.to_owned(), "/nonexistent".into(), 53);
    (Rc::new(Dns::with(Rc::new(handle), lookup)), inbox)
}

fn answers(addresses: &[[u8; 4]]) -> Answers {
    [("db".to_owned(), addresses.iter().map(|it| IpAddr::from(*it)).collect())].into()
}

#[tokio::test]
async fn a_watched_name_is_looked_up_again_and_its_last_good_answer_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.1 db\n").expect("written");
    let test = async {
        let (dns, mut events) = dns(&hosts);
        dns.watch(&BTreeSet::from(["db"]), &BTreeSet::new());
        assert_eq!(*dns.answers_within(DEADLINE).await, answers(&[[10, 0, 0, 1]]));
        assert!(matches!(events.recv().await, Some(Event::NamesChanged)));
        std::fs::write(&hosts, "10.0.0.2 db\n10.0.0.1 db\n").expect("written");
        assert!(matches!(events.recv().await, Some(Event::NamesChanged)), "the answer's time is over");
        assert_eq!(*dns.answers(), answers(&[[10, 0, 0, 2], [10, 0, 0, 1]]));
        dns.learn("db", None).await;
        assert_eq!(*dns.answers(), answers(&[[10, 0, 0, 2], [10, 0, 0, 1]]), "a failure takes nothing away");

        let turned: Vec<IpAddr> = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        dns.learn("db", Some(turned.clone())).await;
        assert!(events.try_recv().is_err(), "where all are used, a name server may turn them as it likes");
        dns.watch(&BTreeSet::from(["db"]), &BTreeSet::from(["db"]));
        dns.learn("db", Some(turned)).await;
        assert!(
            matches!(events.try_recv(), Ok(Event::NamesChanged)),
            "the first is the one for new connections"
        );
        assert_eq!(*dns.answers(), answers(&[[10, 0, 0, 1], [10, 0, 0, 2]]));
        dns.watch(&BTreeSet::new(), &BTreeSet::new());
        assert!(dns.answers().is_empty());
    };
    tokio::time::timeout(DEADLINE, LocalSet::new().run_until(test)).await.expect("in time");
}

#[tokio::test]
async fn shards_that_ask_for_one_name_share_a_lookup_and_its_answer() {
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "10.0.0.1 db\n").expect("written");
    let test = async {
        let (dns, _events) = dns(&hosts);
        for host in ["db", "unknown"] {
            let (shard, mut answered) = mailbox(8);
            for _ in 0..3 {
                dns.answer(shard.clone(), host.into());
            }
            for _ in 0..3 {
                let Some(ToShard::Resolved { host: of, answer, until }) = answered.recv().await else {
                    panic!("no answer for {host}");
                };
                assert_eq!((&*of, answer.is_ok()), (host, host == "db"));
                assert!(until > clock::now());
            }
        }
        assert_eq!(dns.handle.status.borrow().counts.dns_lookups, 2, "one for each name");
        assert_eq!(dns.handle.status.borrow().counts.dns_failures, 1);
    };
    tokio::time::timeout(DEADLINE, LocalSet::new().run_until(test)).await.expect("in time");
}
