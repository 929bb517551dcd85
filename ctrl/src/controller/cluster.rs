//! The controller of a cluster: the API server in, the feed over mutual TLS out, Secrets kept, statuses written by the elected
//! replica.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use dromon_auth::Identity;
use dromon_k8s::api::pod::Pod;
use dromon_k8s::api::{Kind, Object};
use dromon_k8s::install::Values;
use dromon_k8s::mesh::Mesh;
use dromon_k8s::objects::ObjectSet;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::{Args, announce, asked_to_end, status};
use crate::ca;
use crate::ca::members::{Member, Members};
use crate::ca::secrets::keeper::{Keeper, Users};
use crate::ca::secrets::{ACCOUNT_SECRET_PREFIX, keep, keeper};
use crate::cluster::client;
use crate::cluster::election::Election;
use crate::cluster::gateways::Gateways;
use crate::cluster::live::Live;
use crate::cluster::status::{Counts, Writer};
use crate::cluster::statuses;
use crate::feed::hub::Hub;
use crate::feed::server::{self, Log};
use crate::feed::tcp;
use crate::source::kube as source;
use crate::store::oversee::{Observe, Overseer, Seen};
use crate::store::worker::{self, Input, Shared};
use crate::webhook;

/// Port at which a proxy says in its pod what it uses.
const METRICS_PORT: u16 = 15_020;
/// How long an end waits for the Lease to be given back.
const END: Duration = Duration::from_secs(5);

/// What concerns a cluster.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "With --source kube")]
pub struct Options {
    /// The API server and who to be there; the pod's own account unless given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the controller, its Secrets and Lease, and of rules that hold for the whole mesh
    #[arg(long, value_name = "NAME", default_value = "dromon-system")]
    pub system_namespace: String,
    /// Take the CA from this Secret of the system namespace (tls.crt, tls.key, ca.crt); without it, or where it is empty, one is
    /// made and kept in the Secret dromon-ca
    #[arg(long, value_name = "NAME")]
    pub ca_secret: Option<String>,
    /// Serve the webhooks here
    #[arg(long, value_name = "ADDR")]
    pub webhook_addr: Option<SocketAddr>,
    /// The installation's values, which injection follows; the defaults unless given
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,
    /// The Service whose addresses Gateways and Ingresses have
    #[arg(long, value_name = "NAME", default_value = "dromon-gateway")]
    pub gateway_service: String,
    /// Name of this replica among those that elect who writes; must differ from the others'
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "dromon-controller")]
    pub replica: String,
}

/// The index in force, for whoever has to ask it at once.
type Index = Arc<Mutex<Option<Arc<Mesh>>>>;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// There is no way to the API server, or an address cannot be served.
pub async fn run(args: Args, log: Log) -> anyhow::Result<()> {
    let options = &args.cluster;
    let stopped = asked_to_end()?;
    let client = client::connect(options.kubeconfig.as_deref()).await?;
    let status_listener = bind(args.status_addr, "the status").await?;
    let feed = match args.feed_tcp {
        Some(address) => Some(bind(address, "the feed").await?),
        None => None,
    };
    let (sender, inputs) = worker::inputs();
    let wanted = sender.clone();
    let hub = Hub::new(Box::new(move |proxy| {
        // The worker ends only with the process.
        let _ = wanted.send(Input::Wanted(proxy.to_owned()));
    }));
    let replica = format!("{}_{}", options.replica, std::process::id());
    let (election, leads) = Election::new(client.clone(), &options.system_namespace, replica, log.clone());
    let electing = tokio::spawn(election.run(stopped.clone()));

    let parts = Parts { client: client.clone(), leads: leads.clone(), log: log.clone(), args: &args };
    let live = Live::default();
    let store = parts.store(inputs, &hub, &live)?;
    let certs = parts.keeper(&store);
    parts.webhooks(&certs.keeper, store.objects.clone()).await?;
    let setup =
        source::Setup { client, system_namespace: options.system_namespace.clone(), log: log.clone(), live };
    tokio::spawn(source::run(setup, move |batch| sender.send(Input::Objects(batch)).is_ok()));
    let (ready, is_ready) = watch::channel(false);
    let told = status::Told {
        hub: hub.clone(),
        shared: store.shared.clone(),
        certs: certs.shared,
        cluster: Some(status::Cluster { leads, ready: is_ready, counts: store.counts.clone() }),
    };
    tokio::spawn(status::serve(status_listener, told));

    let serving = serve(feed, (certs.own, store.members, store.index), hub, log, (&args, ready));
    let mut ended = stopped.clone();
    tokio::select! {
        result = serving => result?,
        _ = ended.wait_for(|stop| *stop) => {}
    }
    let _ = tokio::time::timeout(END, electing).await;
    Ok(())
}

/// The installation's values.
fn values(file: Option<&Path>) -> anyhow::Result<Values> {
    let Some(file) = file else { return Ok(Values::new()) };
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    Values::from_yaml(&text).with_context(|| name.to_string())
}

/// What the controller's parts are made of.
struct Parts<'a> {
    client: Client,
    leads: watch::Receiver<bool>,
    log: Log,
    args: &'a Args,
}

/// The store, as the other parts see it.
struct StoreEnds {
    shared: Shared,
    members: watch::Receiver<Option<Members>>,
    users: watch::Receiver<Users>,
    index: Index,
    counts: Arc<Counts>,
    objects: watch::Receiver<Arc<ObjectSet>>,
}

/// The CA, as the other parts see it.
struct CertsEnds {
    keeper: Keeper,
    shared: ca::status::Shared,
    own: watch::Receiver<Option<Identity>>,
}

impl Parts<'_> {
    /// Starts the store, and who writes statuses of what it makes.
    fn store(&self, inputs: Receiver<Input>, hub: &Arc<Hub>, live: &Live) -> anyhow::Result<StoreEnds> {
        let shared: Shared = Arc::new(Mutex::default());
        let (known, members) = watch::channel(None);
        let (users_known, users) = watch::channel(Users::new());
        let (versions, seen) = watch::channel(None);
        let (in_force, objects) = watch::channel(Arc::default());
        let index = Index::default();
        let observers: Vec<Observe> = vec![
            Box::new(move |seen, _| {
                in_force.send_replace(seen.set.clone());
                let now = users_of(seen);
                users_known.send_if_modified(|before| replace(before, now));
            }),
            Box::new(move |seen, _| {
                versions.send_replace(Some(Arc::new(seen.clone())));
            }),
        ];
        let setup = worker::Setup {
            hub: hub.clone(),
            log: self.log.clone(),
            last_good: None,
            shared: shared.clone(),
            members: Box::new(move |members| {
                known.send_if_modified(|before| replace(before, Some(members)));
            }),
            index: Some(index.clone()),
            overseer: Overseer::start(self.log.clone(), shared.clone(), observers)?,
        };
        let options = &self.args.cluster;
        worker::start_cluster(setup, inputs, &options.system_namespace)?;
        let gateways = Gateways {
            client: self.client.clone(),
            namespace: options.system_namespace.clone(),
            values: values(options.values.as_deref())?,
            seen: seen.clone(),
            leads: self.leads.clone(),
            log: self.log.clone(),
        };
        tokio::spawn(gateways.run());
        let counts = Arc::new(Counts::default());
        let writer = Writer {
            client: self.client.clone(),
            live: live.clone(),
            compute: statuses::compute(&options.system_namespace, &options.gateway_service),
            seen,
            leads: self.leads.clone(),
            counts: counts.clone(),
            replica: options.replica.clone(),
            log: self.log.clone(),
        };
        tokio::spawn(writer.run());
        Ok(StoreEnds { shared, members, users, index, counts, objects })
    }

    /// Starts the CA.
    fn keeper(&self, store: &StoreEnds) -> CertsEnds {
        let (own, own_seen) = watch::channel(None);
        let shared = ca::status::Shared::default();
        let keeper = Keeper::new(keeper::Setup {
            client: self.client.clone(),
            system_namespace: self.args.cluster.system_namespace.clone(),
            ca_secret: self.args.cluster.ca_secret.clone().filter(|name| !name.is_empty()),
            settings: self.args.certs.clone(),
            log: self.log.clone(),
            shared: shared.clone(),
            own,
            members: store.members.clone(),
            users: store.users.clone(),
            leads: self.leads.clone(),
        });
        tokio::spawn(keep::run(keeper.clone()));
        CertsEnds { keeper, shared, own: own_seen }
    }

    /// Starts the webhooks, if they are asked for.
    async fn webhooks(
        &self,
        keeper: &Keeper,
        objects: watch::Receiver<Arc<ObjectSet>>,
    ) -> anyhow::Result<()> {
        let options = &self.args.cluster;
        let Some(address) = options.webhook_addr else { return Ok(()) };
        let listener = bind(address, "the webhooks").await?;
        let values = values(options.values.as_deref())?;
        let (client, keeper, log) = (self.client.clone(), keeper.clone(), self.log.clone());
        let setup = webhook::Setup { client, keeper, values, objects, log };
        tokio::spawn(webhook::run(setup, listener));
        Ok(())
    }
}

/// Puts a value in another's place; true if they differ.
fn replace<T: PartialEq>(before: &mut T, now: T) -> bool {
    let changed = *before != now;
    *before = now;
    changed
}

async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot serve {what} on {address}"))
}

/// Serves the feed once there is something to serve; returns only if it cannot go on.
async fn serve(
    feed: Option<TcpListener>,
    (own, mut members, index): (watch::Receiver<Option<Identity>>, watch::Receiver<Option<Members>>, Index),
    hub: Arc<Hub>,
    log: Log,
    (args, ready): (&Args, watch::Sender<bool>),
) -> anyhow::Result<()> {
    // Before the first version nobody is listened to: a proxy that reconnects goes on with what it has.
    members.wait_for(Option::is_some).await.context("the store has ended")?;
    own.clone().wait_for(Option::is_some).await.context("the CA has ended")?;
    let Some(listener) = feed else {
        ready.send_replace(true);
        announce(args, None, None);
        return std::future::pending().await;
    };
    let address = listener.local_addr()?;
    let trust = members.borrow().clone().unwrap_or_default();
    let (trusted, trust) = watch::channel(trust);
    tokio::spawn(async move {
        while members.changed().await.is_ok() {
            let now = members.borrow_and_update().clone().unwrap_or_default();
            trusted.send_replace(now);
        }
    });
    let (connections, accepted) = mpsc::channel(1);
    tokio::spawn(tcp::accept(listener, own, trust.clone(), log.clone(), connections));
    let admit: server::Admit = Arc::new(move |proxy, caller| match caller {
        Some(caller) => {
            let mesh = index.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let member = mesh.as_ref().and_then(|mesh| member(mesh, proxy));
            let mut members = trust.borrow().clone();
            members.proxies.extend(member.map(|member| (proxy.to_owned(), member)));
            members.admit(proxy, &caller.0)
        }
        None => Err("nobody has said who asks".to_owned()),
    });
    ready.send_replace(true);
    announce(args, None, Some(address));
    match server::serve_tls(accepted, hub, log, admit, std::future::pending()).await {
        Ok(()) => bail!("the feed ended"),
        Err(error) => bail!("the feed ended: {error}"),
    }
}

/// The pod that a proxy is in.
fn member(mesh: &Mesh, proxy: &str) -> Option<Member> {
    let (_, pod) = proxy.split_once('~')?;
    let (name, namespace) = pod.rsplit_once('.')?;
    let pod = mesh.workloads.named(namespace, name)?;
    let account = pod.facts.service_account.clone();
    Some(Member { namespace: namespace.to_owned(), account, admin: None })
}

/// Pods that mount an account's certificate, by account.
fn users_of(seen: &Seen) -> Users {
    let mut users = Users::new();
    for sourced in seen.set.of_kind(Kind::Pod) {
        let Object::Pod(pod) = &sourced.object else { continue };
        if pod.has_ended {
            continue;
        }
        let namespace = &sourced.key.namespace;
        for account in accounts_of(pod) {
            let name = format!("{}.{namespace}", sourced.key.name);
            // One without an address has not started: it will mount what is there then.
            let user = pod.address.map(|ip| (name, Some(SocketAddr::new(ip, METRICS_PORT))));
            users.entry((namespace.clone(), account.to_owned())).or_default().extend(user);
        }
    }
    users
}

/// Accounts whose certificates a pod mounts: its own, if it has a sidecar or is a gateway.
fn accounts_of(pod: &Pod) -> impl Iterator<Item = &str> {
    pod.secrets.iter().filter_map(|name| name.strip_prefix(ACCOUNT_SECRET_PREFIX))
}
