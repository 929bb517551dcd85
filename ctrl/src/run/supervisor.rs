//! The run's one loop: what the folder asks for is compared with what runs, and the difference is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dromon_k8s::objects::ObjectSet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::address::{Addresses, Pair};
use super::env::{ServicePort, captured, environment};
use super::guard::Guard;
use super::output::{progress, say};
use super::part::{Fate, Part};
use super::plan::{Plan, Process, Service};
use super::pods::Pods;
use super::programs::{Endpoints, GATEWAY, Programs};
pub use super::ready::{Ready, ReadyProcess};
use super::workload::{self, Workload};
use super::{changes, flow, gateway_ports::GatewayPorts, ports};
use crate::local::{self, Local};
use crate::source::folder::Batch;
use crate::store::files::Files;

/// First port of the listeners by which applications reach services without a proxy.
const SERVICE_PORTS: std::ops::RangeInclusive<u16> = 20_000..=29_999;

/// How long after a look at a gateway that does not serve all of its ports the next one follows.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// Files changed.
    Folder(Batch),
    /// The controller.
    Controller(Fate),
    /// The gateway.
    Gateway(Fate),
    /// A process's sidecar, by the process.
    Sidecar(String, Fate),
    /// A process.
    Application(String, Fate),
    /// A process and its sidecar have ended.
    Gone(String),
    /// Where the gateway listens.
    Listeners(flow::Listeners),
    /// Every proxy has the run's word of this revision; the gateway listens there.
    Flowing(u64, flow::Listeners),
    /// The start has taken as long as it may.
    StartOver,
}

/// The loop's state.
pub struct Supervisor {
    programs: Programs,
    guard: Guard,
    events: UnboundedSender<Event>,
    inbox: UnboundedReceiver<Event>,
    files: Files,
    set: ObjectSet,
    plan: Plan,
    addresses: Addresses,
    /// With `--capture`.
    pods: Option<Pods>,
    service_ports: BTreeMap<String, u16>,
    service_addresses: BTreeMap<String, Ipv4Addr>,
    gateway_endpoints: Endpoints,
    refused_below: u16,
    controller: Option<Part>,
    gateway: Option<Part>,
    gateway_ready: bool,
    workloads: BTreeMap<String, Workload>,
    told: Local,
    began: Instant,
    announced: bool,
    /// Where the gateway listened when it was last looked at.
    listening: Vec<SocketAddr>,
    checking: bool,
    said: BTreeSet<String>,
    gateway_ports: GatewayPorts,
    /// A look at the gateway's ports is under way or due.
    looking: bool,
}

impl Supervisor {
    /// A supervisor of which nothing runs yet. `addresses` has the gateway's already, which `gateway_endpoints` come from.
    pub fn new(
        programs: Programs,
        guard: Guard,
        addresses: Addresses,
        pods: Option<Pods>,
        gateway_endpoints: Endpoints,
    ) -> Supervisor {
        let (events, inbox) = unbounded_channel();
        Supervisor {
            refused_below: ports::refused_below(programs.options.bind),
            programs,
            guard,
            events,
            inbox,
            files: Files::default(),
            set: ObjectSet::new(),
            plan: Plan::default(),
            addresses,
            pods,
            service_ports: BTreeMap::new(),
            service_addresses: BTreeMap::new(),
            gateway_endpoints,
            controller: None,
            gateway: None,
            gateway_ready: false,
            workloads: BTreeMap::new(),
            told: Local::default(),
            began: Instant::now(),
            announced: false,
            listening: Vec::new(),
            checking: false,
            said: BTreeSet::new(),
            gateway_ports: GatewayPorts::default(),
            looking: false,
        }
    }

    /// Where to tell it what happens.
    pub fn events(&self) -> UnboundedSender<Event> {
        self.events.clone()
    }

    /// Starts everything that the folder asks for. The controller comes first; the rest follows once it answers.
    pub fn start(&mut self, folder: &Batch) {
        self.take_folder(folder);
        self.gateway_ports.taken().iter().for_each(|line| say(line));
        self.tell();
        let spec = self.programs.controller();
        self.controller = Some(Part::start(spec, self.guard.clone(), self.events.clone(), Event::Controller));
        let (events, patience) = (self.events.clone(), self.programs.options.start_seconds);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_secs(patience)).await;
            let _ = events.send(Event::StartOver);
        });
    }

    /// The next event. Never ends.
    pub async fn next(&mut self) -> Option<Event> {
        self.inbox.recv().await
    }

    /// Carries out what an event asks for; returns what to announce, once.
    pub fn handle(&mut self, event: Event) -> Option<Ready> {
        match event {
            Event::Folder(batch) => {
                self.take_folder(&batch);
                if self.gateway.is_some() {
                    self.reconcile();
                }
            }
            Event::Controller(fate) => self.controller_fate(fate),
            Event::Gateway(fate) => match fate {
                Fate::Ready(ready) => self.gateway_ready = ready,
                Fate::Failed(why) => say(&format!("the gateway {why}")),
                Fate::Started(_) => self.look_at_ports(Duration::ZERO),
            },
            Event::Listeners(listeners) => {
                self.looking = false;
                self.ports_seen(&listeners);
            }
            Event::Sidecar(id, fate) => self.sidecar_fate(&id, fate),
            Event::Application(id, fate) => self.application_fate(&id, fate),
            Event::Gone(id) => {
                if let Some(pod) = self.workloads.remove(&id).and_then(|it| it.pod) {
                    pod.remove();
                }
                self.reconcile();
            }
            Event::Flowing(revision, listeners) => return self.flowing(revision, &listeners),
            Event::StartOver => self.give_up_waiting(),
        }
        self.tell();
        self.check();
        None
    }

    /// Ends everything, in the order in which nothing under way is cut: the way in, each process with its sidecar, the
    /// controller.
    pub async fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
        let drain = Duration::from_secs(self.programs.options.drain_seconds);
        let mut stopping = tokio::task::JoinSet::new();
        for (_, workload) in std::mem::take(&mut self.workloads) {
            let Workload { application, sidecar, endpoints, .. } = workload;
            stopping.spawn_local(workload::stop(application, sidecar, endpoints, drain));
        }
        while stopping.join_next().await.is_some() {}
        if let Some(controller) = self.controller.take() {
            controller.stop().await;
        }
    }

    fn take_folder(&mut self, batch: &Batch) {
        let before = self.set.clone();
        // The controller reads the same files and says what is wrong with them.
        let _ = self.files.apply(&mut self.set, batch);
        let changed = self.files.take_changed();
        if self.controller.is_some()
            && let Some(line) = changes::told(batch, &changed, &before, &self.set)
        {
            say(&line);
        }
        self.plan = Plan::new(&self.set);
        if self.gateway_ports.want(&self.plan, &self.local_gateway()) && self.gateway.is_some() {
            self.look_at_ports(Duration::ZERO);
        }
        for service in &self.plan.services {
            let taken: Vec<u16> = self.service_ports.values().copied().collect();
            let mut free = SERVICE_PORTS.filter(|port| !taken.contains(port));
            if !self.service_ports.contains_key(&service.key())
                && let Some(port) = free.next()
            {
                self.service_ports.insert(service.key(), port);
            }
        }
        self.address_services();
        let gateway = self.local_gateway();
        for port in self.plan.gateway_ports.keys().copied().collect::<Vec<_>>() {
            if !gateway.ports.contains_key(&port) && gateway.port(port) != port {
                let opened = gateway.port(port);
                self.say_once(format!(
                    "gateway port {port} needs rights that this user has not: it is open at {opened} \
                     (--port-map {port}:PORT chooses another)"
                ));
            }
        }
    }

    /// Asks the gateway where it listens, after a pause.
    fn look_at_ports(&mut self, pause: Duration) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let (events, admin) = (self.events.clone(), self.gateway_endpoints.admin);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _ = events.send(Event::Listeners(flow::listeners(admin).await));
        });
    }

    /// Says what is new about the gateway's ports; they are looked at until all are served.
    fn ports_seen(&mut self, listeners: &flow::Listeners) {
        self.gateway_ports.seen(listeners).iter().for_each(|line| say(line));
        self.listening.clone_from(&listeners.open);
        if !self.gateway_ports.are_served(listeners) {
            self.look_at_ports(LOOK_AGAIN);
        }
    }

    fn controller_fate(&mut self, fate: Fate) {
        match fate {
            Fate::Ready(true) if self.gateway.is_none() => {
                let spec = self.programs.gateway(self.gateway_endpoints);
                let part = Part::start(spec, self.guard.clone(), self.events.clone(), Event::Gateway);
                self.gateway = Some(part);
                self.reconcile();
            }
            Fate::Failed(why) => say(&format!("the controller {why}")),
            Fate::Ready(_) | Fate::Started(_) => {}
        }
    }

    fn sidecar_fate(&mut self, id: &str, fate: Fate) {
        let Some(workload) = self.workloads.get_mut(id) else { return };
        match fate {
            Fate::Started(_) => {}
            Fate::Failed(why) => say(&format!("the sidecar of {id} {why}")),
            Fate::Ready(ready) => {
                workload.sidecar_ready = ready;
                let (process, pair, pod) = (workload.process.clone(), workload.pair, workload.pod.clone());
                if ready && workload.application.is_none() && !workload.leaving {
                    let services = self.services_of(&process, pair.sidecar.into());
                    let port = process.life.ports.first().map(|(_, port)| *port);
                    let env = match pod {
                        Some(_) => captured(port, &services, &process.life.env),
                        None => environment(pair, port, &services, &process.life.env),
                    };
                    let spec = self.programs.application(&process, pair, pod.as_ref(), env);
                    let tag = tagged(id, Event::Application);
                    let part = Part::start(spec, self.guard.clone(), self.events.clone(), tag);
                    if let Some(workload) = self.workloads.get_mut(id) {
                        workload.application = Some(part);
                    }
                }
            }
        }
    }

    fn application_fate(&mut self, id: &str, fate: Fate) {
        let Some(workload) = self.workloads.get_mut(id) else { return };
        match fate {
            Fate::Started(pid) => workload.pid = Some(pid),
            Fate::Ready(ready) => {
                workload.application_ready = ready;
                workload.settled |= ready;
            }
            Fate::Failed(why) => {
                say(&format!("{id} {why}"));
                workload.settled = true;
            }
        }
    }

    /// Brings what runs to what is asked for.
    fn reconcile(&mut self) {
        let drain = Duration::from_secs(self.programs.options.drain_seconds);
        for (id, workload) in &mut self.workloads {
            match self.plan.processes.get(id) {
                Some(process) if process.life == workload.process.life => {
                    workload.process = process.clone();
                }
                _ if workload.leaving => {}
                wanted => {
                    let why = if wanted.is_some() { "changed" } else { "was removed" };
                    say(&format!("{id} {why}: it is being stopped"));
                    workload.leaving = true;
                    let parts = (workload.application.take(), workload.sidecar.take());
                    let (events, id, endpoints) = (self.events.clone(), id.clone(), workload.endpoints);
                    let status = self.programs.status;
                    // The revision that is told next says that it is leaving.
                    let revision = self.told.revision + 1;
                    tokio::task::spawn_local(async move {
                        flow::applied(status, revision, drain).await;
                        workload::stop(parts.0, parts.1, endpoints, drain).await;
                        let _ = events.send(Event::Gone(id));
                    });
                }
            }
        }
        let missing: Vec<Process> = self
            .plan
            .processes
            .iter()
            .filter(|(id, _)| !self.workloads.contains_key(*id))
            .map(|(_, process)| process.clone())
            .collect();
        for process in missing {
            if let Err(error) = self.start_workload(&process) {
                say(&format!("{} cannot be started: {error}", process.id()));
            }
        }
    }

    fn start_workload(&mut self, process: &Process) -> anyhow::Result<()> {
        let id = process.id();
        let mut pair = self.addresses.of(&id)?;
        let mut endpoints = Endpoints::at(pair.sidecar);
        let mut pod = None;
        if let Some(pods) = &self.pods {
            let made = pods.make(pair, &self.hosts(&process.namespace))?;
            endpoints = Endpoints::of_pod(pair.sidecar, made.address);
            made.relay(endpoints.admin)?;
            pair = Pair { sidecar: made.address, application: made.address };
            pod = Some(made);
        }
        let spec = self.programs.sidecar(&process.label(), &id, endpoints, pod.as_ref());
        let mut workload = Workload::new(process.clone(), pair, endpoints, pod);
        let tag = tagged(&id, Event::Sidecar);
        workload.sidecar = Some(Part::start(spec, self.guard.clone(), self.events.clone(), tag));
        self.workloads.insert(id, workload);
        Ok(())
    }

    fn services_of(&self, process: &Process, sidecar: IpAddr) -> Vec<ServicePort> {
        let own = self.plan.services.iter().filter(|service| service.namespace == process.namespace);
        own.filter_map(|service| {
            let listener = match (&self.pods, self.service_addresses.get(&service.host())) {
                (Some(_), Some(address)) => SocketAddr::new((*address).into(), service.port),
                _ => SocketAddr::new(sidecar, *self.service_ports.get(&service.key())?),
            };
            let (service, port_name) = (service.name.clone(), service.port_name.clone());
            Some(ServicePort { service, port_name, listener })
        })
        .collect()
    }

    /// Gives each service a virtual address, where connections are captured, and pods their names.
    fn address_services(&mut self) {
        let Some(pods) = &self.pods else { return };
        for service in &self.plan.services {
            let position = self.service_addresses.len();
            if !self.service_addresses.contains_key(&service.host())
                && let Some(address) = pods.service_address(position)
            {
                self.service_addresses.insert(service.host(), address);
            }
        }
        for workload in self.workloads.values() {
            let hosts = self.hosts(&workload.process.namespace);
            if let Some(Err(error)) = workload.pod.as_ref().map(|pod| pod.write_hosts(&hosts)) {
                say(&format!("{}: names of services: {error}", workload.process.id()));
            }
        }
    }

    /// The services as a pod of this namespace knows them, as lines of /etc/hosts.
    fn hosts(&self, namespace: &str) -> String {
        let mut lines = BTreeSet::new();
        for service in &self.plan.services {
            let Some(address) = self.service_addresses.get(&service.host()) else { continue };
            let Service { name, namespace: of, .. } = service;
            let short = if of == namespace { format!(" {name}") } else { String::new() };
            lines.insert(format!("{address} {} {name}.{of}.svc {name}.{of}{short}\n", service.host()));
        }
        lines.into_iter().collect()
    }

    fn local_gateway(&self) -> local::Gateway {
        local::Gateway {
            name: GATEWAY.0.into(),
            namespace: GATEWAY.1.into(),
            bind: self.programs.options.bind,
            ports: self.programs.options.port_map.iter().copied().collect(),
            refused_below: self.refused_below,
            admin: Some(self.gateway_endpoints.admin),
        }
    }

    /// Tells the controller how things are, if that changed.
    fn tell(&mut self) {
        let workload = |workload: &Workload| local::Workload {
            name: workload.process.name.clone(),
            namespace: workload.process.namespace.clone(),
            labels: workload.process.labels.clone(),
            service_account: workload.process.service_account.clone(),
            sidecar: workload.pair.sidecar,
            application: workload.pair.application,
            ports: workload
                .process
                .life
                .ports
                .iter()
                .map(|(name, number)| local::Port { name: name.clone(), number: *number })
                .collect(),
            ready: workload.ready(),
            admin: Some(workload.endpoints.admin),
            mtls: true,
            captured: workload.pod.is_some(),
        };
        let now = Local {
            revision: self.told.revision,
            gateway: Some(self.local_gateway()),
            workloads: self.workloads.values().map(workload).collect(),
            service_ports: self.service_ports.clone(),
            service_addresses: self.service_addresses.clone(),
        };
        if now == self.told {
            return;
        }
        self.told = Local { revision: self.told.revision + 1, ..now };
        if let Err(error) = self.told.write(&self.programs.run_dir) {
            say(&format!(
                "cannot tell the controller what runs: {}: {error}",
                self.programs.run_dir.display()
            ));
        }
    }

    /// Once everything is settled, asks whether all proxies have the present state.
    fn check(&mut self) {
        if self.announced {
            return;
        }
        let settled = self.workloads.values().filter(|workload| workload.settled).count();
        let all = self.plan.processes.len();
        progress(&format!("starting: {settled} of {all} processes"));
        if self.checking || !self.gateway_ready || settled < all {
            return;
        }
        self.checking = true;
        let (events, revision) = (self.events.clone(), self.told.revision);
        let (status, admin) = (self.programs.status, self.gateway_endpoints.admin);
        let patience = Duration::from_secs(self.programs.options.start_seconds);
        tokio::task::spawn_local(async move {
            flow::applied(status, revision, patience).await;
            let _ = events.send(Event::Flowing(revision, flow::listeners(admin).await));
        });
    }

    fn flowing(&mut self, revision: u64, listeners: &flow::Listeners) -> Option<Ready> {
        self.checking = false;
        if self.announced {
            return None;
        }
        if revision != self.told.revision {
            self.check();
            return None;
        }
        self.announced = true;
        self.ports_seen(listeners);
        self.picture()
    }

    /// The run as it is; nothing before traffic could flow.
    pub fn picture(&self) -> Option<Ready> {
        if !self.announced {
            return None;
        }
        let mut admin: BTreeMap<String, SocketAddr> =
            [("gateway".to_owned(), self.gateway_endpoints.admin)].into();
        let sidecars = self.workloads.iter();
        admin.extend(sidecars.map(|(id, it)| (id.clone(), it.endpoints.admin)));
        let process = |(id, workload): (&String, &Workload)| ReadyProcess {
            name: id.clone(),
            ready: workload.ready(),
            pid: workload.pid,
            sidecar: workload.pair.sidecar.into(),
            application: workload.pair.application.into(),
        };
        Some(Ready {
            status: "ready".into(),
            listeners: self.listening.clone(),
            admin,
            processes: self.workloads.iter().map(process).collect(),
            controller: self.programs.status,
            run_dir: self.programs.run_dir.clone(),
        })
    }

    /// What Gateways have to say to people.
    pub fn notes(&self) -> &[String] {
        &self.plan.notes
    }

    /// A page that answers, where it is opened and its path, as far as the rules tell.
    pub fn page(&self) -> Option<(SocketAddr, &str)> {
        let page = self.plan.page.as_ref()?;
        let gateway = self.local_gateway();
        Some((SocketAddr::new(gateway.bind, gateway.port(page.port)), &page.path))
    }

    /// How long ago the start began.
    pub fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn give_up_waiting(&mut self) {
        if self.announced {
            return;
        }
        let patience = self.programs.options.start_seconds;
        for (id, workload) in self.workloads.iter_mut().filter(|(_, workload)| !workload.settled) {
            let what = if workload.sidecar_ready { "is" } else { "has a sidecar that is" };
            say(&format!("{id} {what} not ready after {patience} s: the rest goes on without it"));
            workload.settled = true;
        }
        if !self.gateway_ready {
            say(&format!("the gateway is not ready after {patience} s: still waiting"));
        }
    }

    fn say_once(&mut self, line: String) {
        if !self.said.contains(&line) {
            say(&line);
            self.said.insert(line);
        }
    }
}

fn tagged(id: &str, event: fn(String, Fate) -> Event) -> impl Fn(Fate) -> Event + Send + 'static {
    let id = id.to_owned();
    move |fate| event(id.clone(), fate)
}
