//! Changes at a fixed rate: routes and endpoints, of the services that the real proxy uses and of others, in turn.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use dromon_core::config::model::{Kind, destination_name};
use futures::future::try_join_all;

use super::api::{Api, Events, Write};
use super::figures::{Figures, Spread};
use super::real::Client;
use super::track::{Arrivals, Sign, Tracker};
use super::world::{self, PORT, Size};

/// Changes of a round: a route of the real proxy's, an endpoint of its gone, a route elsewhere, the endpoint back, an endpoint
/// elsewhere.
const TURNS: u64 = 5;

/// What a run of changes needs.
pub struct Changes<'a> {
    /// Where they are written.
    pub api: &'a Api,
    /// The mesh.
    pub size: Size,
    /// When the controller is told.
    pub events: Events,
    /// When played proxies are told.
    pub tracker: Tracker,
    /// The ports of the origins behind the services that the real proxy uses, and their address, if there is one.
    pub origins: Option<(Vec<[u16; 2]>, IpAddr)>,
    /// Held by who writes.
    pub writing: tokio::sync::Mutex<()>,
    /// Held by who takes an origin away until it is seen to be gone, and by who brings it back.
    pub taking: tokio::sync::Mutex<()>,
}

/// What one change showed, in milliseconds.
#[derive(Default)]
struct Seen {
    is_route: bool,
    /// From the event to each played proxy.
    played: Vec<f64>,
    /// From the event, and from the API server's answer, to the real proxy's requests.
    real: Option<(f64, f64)>,
}

/// A connection through the real proxy, for one question at a time.
type Asking = Arc<Mutex<Option<Client>>>;

impl Changes<'_> {
    /// Makes so many changes, so many a second.
    ///
    /// # Errors
    /// A change does not arrive where it should.
    pub async fn run(&self, count: u64, rate: f64, figures: &mut Figures) -> Result<()> {
        let client = || {
            Ok::<_, anyhow::Error>(match &self.origins {
                Some(_) => Some(Client::new()?),
                None => None,
            })
        };
        let (routes, endpoints) = (Asking::new(Mutex::new(client()?)), Asking::new(Mutex::new(client()?)));
        let began = Instant::now();
        let one = async |change: u64| {
            tokio::time::sleep_until((began + Duration::from_secs_f64(change as f64 / rate)).into()).await;
            match change % TURNS {
                0 => self.route(self.used(change), change, Some(&routes)).await,
                1 => self.origin(change, false, Some(&endpoints)).await,
                2 => self.route(self.other(change), change, None).await,
                3 => self.origin(change - 2, true, None).await,
                // Gone in one round, back in the next.
                _ => self.endpoint(self.other(change / TURNS / 2 * TURNS), change / TURNS % 2 == 1).await,
            }
        };
        let seen = try_join_all((0..count).map(one)).await?;
        let of = |is_route, value: fn(&Seen) -> Vec<f64>| {
            Spread::of(seen.iter().filter(|it| it.is_route == is_route).flat_map(value).collect())
        };
        let from_event = |it: &Seen| it.real.iter().map(|(event, _)| *event).collect();
        let from_answer = |it: &Seen| it.real.iter().map(|(_, answer)| *answer).collect();
        figures.route_played = of(true, |it| it.played.clone());
        figures.endpoint_played = of(false, |it| it.played.clone());
        if self.origins.is_some() {
            figures.route_from_event = Some(of(true, from_event));
            figures.route_from_answer = Some(of(true, from_answer));
            figures.endpoint_from_event = Some(of(false, from_event));
        }
        Ok(())
    }

    /// A service of the real proxy: both dialects of routes in turn.
    fn used(&self, change: u64) -> usize {
        (change / TURNS) as usize % world::USED.min(self.size.services)
    }

    /// A service that the real proxy does not use, if there are others; both dialects, far apart in the mesh.
    fn other(&self, change: u64) -> usize {
        let used = world::USED.min(self.size.services);
        let others = self.size.services - used;
        if others == 0 { self.used(change) } else { used + (change / TURNS) as usize * 7 % others }
    }

    async fn route(&self, service: usize, change: u64, asking: Option<&Asking>) -> Result<Seen> {
        let mark = world::mark(change + 1);
        let host = self.size.host(service);
        let sign = Sign { kind: Kind::VirtualHost, name: host.clone(), text: mark.clone(), is_there: true };
        let arrivals = self.tracker.expect(service, sign);
        let asked = self.ask(asking, move |client| client.until_routed(&host, &mark));
        let write = self.size.patch_routes(service, change + 1);
        Ok(Seen { is_route: true, ..self.see(write, arrivals, asked).await? })
    }

    /// The second origin of a service goes, or comes back.
    async fn origin(&self, change: u64, is_back: bool, asking: Option<&Asking>) -> Result<Seen> {
        let service = self.used(change);
        let Some((ports, ip)) = &self.origins else { return self.endpoint(service, is_back).await };
        let port = ports.get(service).map(|pair| pair[1]).unwrap_or_default();
        // Brought back before its rest was seen, it would never be seen to rest.
        let _in_turn = self.taking.lock().await;
        let sign = Sign { text: format!(":{port},"), is_there: is_back, ..self.sign_of_endpoints(service) };
        let arrivals = self.tracker.expect(service, sign);
        let (host, endpoint) = (self.size.host(service), port.to_string());
        let asked = self.ask(asking, move |client| client.until_unused(&host, &endpoint));
        let write = self.size.put_origin(service, 1, is_back.then_some((*ip, port)), false);
        self.see(write, arrivals, asked).await
    }

    /// The last endpoint of a service goes, or comes back.
    async fn endpoint(&self, service: usize, is_there: bool) -> Result<Seen> {
        let mut addresses = self.size.published(service);
        let last = addresses.pop().unwrap_or_default();
        if is_there {
            addresses.push(last.clone());
        }
        let other = format!("\"{last}\"");
        let sign = Sign { text: other, is_there, ..self.sign_of_endpoints(service) };
        let write = self.size.put_endpoints(service, &addresses);
        let arrivals = self.tracker.expect(service, sign);
        self.see(write, arrivals, None).await
    }

    fn sign_of_endpoints(&self, service: usize) -> Sign {
        let name = destination_name(PORT, "", &self.size.host(service));
        Sign { kind: Kind::Endpoints, name, text: String::new(), is_there: false }
    }

    fn ask(
        &self,
        asking: Option<&Asking>,
        question: impl FnOnce(&mut Client) -> Result<Instant> + Send + 'static,
    ) -> Option<tokio::task::JoinHandle<Result<Option<Instant>>>> {
        let asking = asking.filter(|_| self.origins.is_some())?.clone();
        Some(tokio::task::spawn_blocking(move || {
            let mut client = asking.lock().unwrap_or_else(PoisonError::into_inner);
            client.as_mut().map(question).transpose()
        }))
    }

    async fn see(
        &self,
        write: Write,
        arrivals: Arrivals,
        asked: Option<tokio::task::JoinHandle<Result<Option<Instant>>>>,
    ) -> Result<Seen> {
        // One after another: what comes back must have gone before.
        let in_turn = self.writing.lock().await;
        let version = self.api.write(write).await?;
        drop(in_turn);
        let answered = Instant::now();
        let event = self.events.of(&version).await?;
        let since = |at: Instant, from: Instant| at.saturating_duration_since(from).as_secs_f64() * 1000.0;
        let played = arrivals.all().await?.into_iter().map(|at| since(at, event)).collect();
        let real = match asked {
            Some(asked) => asked.await??.map(|at| (since(at, event), since(at, answered))),
            None => None,
        };
        Ok(Seen { is_route: false, played, real })
    }
}
