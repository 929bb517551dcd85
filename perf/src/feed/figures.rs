//! What a run of the simulation found.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::world::{self, Size};

/// The figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Namespaces.
    pub namespaces: usize,
    /// Services.
    pub services: usize,
    /// Endpoints, each a pod.
    pub endpoints: usize,
    /// Routes.
    pub routes: usize,
    /// Connected proxies, one real one aside.
    pub proxies: usize,
    /// From the controller's start until every proxy had everything, in seconds.
    pub start_to_all_fed_s: f64,
    /// The controller's resident memory with all proxies fed, in MiB.
    pub controller_mib: f64,
    /// Its largest until then.
    pub controller_start_peak_mib: f64,
    /// Its resident memory after all changes.
    pub controller_changed_mib: f64,
    /// Its largest.
    pub controller_peak_mib: f64,
    /// What a change costs the controller, in milliseconds of a processor.
    pub processor_ms_per_change: f64,
    /// A real proxy's resident memory in an empty mesh, in MiB.
    pub proxy_empty_mib: Option<f64>,
    /// The same in this mesh, when its workload uses some services.
    pub proxy_mib: Option<f64>,
    /// The same after all changes.
    pub proxy_changed_mib: Option<f64>,
    /// A route's change: watch event → first request routed by it at the real proxy.
    pub route_from_event: Option<Spread>,
    /// The same from the API server's answer to the write.
    pub route_from_answer: Option<Spread>,
    /// An endpoint gone: watch event → the real proxy stops using it.
    pub endpoint_from_event: Option<Spread>,
    /// A route's change: watch event → each played proxy that uses it has read it.
    pub route_played: Spread,
    /// The same of an endpoint's.
    pub endpoint_played: Spread,
    /// How far changes had come when, by the controller's own account.
    pub stages: Vec<Stage>,
}

/// How long changes took to some stage of their way, as the controller's histogram has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// How many came so far.
    pub count: u64,
    /// Mean, in milliseconds.
    pub mean_ms: f64,
    /// The end of the bucket that the 99th percentile is in, in milliseconds.
    pub p99_at_most_ms: f64,
}

impl Stage {
    /// What came between two looks at the controller's metrics.
    pub fn between(before: &str, after: &str) -> Vec<Stage> {
        let (before, after) = (lines(before), lines(after));
        let since =
            |key: &String| after.get(key).copied().unwrap_or(0.0) - before.get(key).copied().unwrap_or(0.0);
        let mut stages = Vec::new();
        for (key, total) in &after {
            let Some(name) = key.strip_prefix("count{stage=\"").and_then(|it| it.strip_suffix("\"}")) else {
                continue;
            };
            let count = total - before.get(key).copied().unwrap_or(0.0);
            let ends = after.keys().filter_map(|key| {
                let end =
                    key.strip_prefix(&format!("bucket{{stage=\"{name}\",le=\""))?.strip_suffix("\"}")?;
                Some((end.parse::<f64>().unwrap_or(f64::INFINITY), since(key)))
            });
            let reached = ends.filter(|(_, within)| *within >= 0.99 * count).map(|(end, _)| end);
            stages.push(Stage {
                name: name.to_owned(),
                count: count as u64,
                mean_ms: since(&format!("sum{{stage=\"{name}\"}}")) * 1000.0 / count.max(1.0),
                p99_at_most_ms: reached.fold(f64::INFINITY, f64::min) * 1000.0,
            });
        }
        stages.sort_by(|a, b| a.mean_ms.total_cmp(&b.mean_ms));
        stages
    }
}

/// The lines of the histogram, without its name.
fn lines(page: &str) -> BTreeMap<String, f64> {
    let line = |it: &str| {
        let (key, value) = it.strip_prefix("dromon_controller_push_seconds_")?.rsplit_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    page.lines().filter_map(line).collect()
}

/// How times spread, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Largest.
    pub max_ms: f64,
}

impl Spread {
    /// Of samples; all zero without any.
    pub fn of(mut times: Vec<f64>) -> Spread {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * times.len() as f64).ceil() as usize;
            times.get(index.saturating_sub(1)).copied().unwrap_or_default()
        };
        Spread { count: times.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

impl Figures {
    /// None yet.
    pub fn new(size: Size) -> Figures {
        Figures {
            namespaces: size.namespaces,
            services: size.services,
            endpoints: size.endpoints(),
            routes: size.routes(),
            proxies: size.proxies,
            ..Figures::default()
        }
    }

    /// What the proxy takes more than in an empty mesh, in MiB.
    pub fn proxy_more_mib(&self) -> Option<f64> {
        Some(self.proxy_mib? - self.proxy_empty_mib?)
    }

    /// By name, as the lab keeps figures.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let p99 = |it: &Option<Spread>| it.map(|it| it.p99_ms);
        let all = [
            ("route_event_p99_ms", p99(&self.route_from_event)),
            ("route_event_p50_ms", self.route_from_event.map(|it| it.p50_ms)),
            ("route_answer_p99_ms", p99(&self.route_from_answer)),
            ("endpoint_event_p99_ms", p99(&self.endpoint_from_event)),
            ("endpoint_event_p50_ms", self.endpoint_from_event.map(|it| it.p50_ms)),
            ("controller_mib", Some(self.controller_mib)),
            ("controller_peak_mib", Some(self.controller_peak_mib)),
            ("start_s", Some(self.start_to_all_fed_s)),
            ("proxy_empty_mib", self.proxy_empty_mib),
            ("proxy_mib", self.proxy_mib),
            ("proxy_more_mib", self.proxy_more_mib()),
            ("processor_ms_per_change", Some(self.processor_ms_per_change)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} services of {} namespaces, {} endpoints, {} routes, {} proxies that use {} services each\n",
            self.services,
            self.namespaces,
            self.endpoints,
            self.routes,
            self.proxies,
            world::USED
        )?;
        writeln!(f, "| figure | limit | measured |\n| --- | ---: | ---: |")?;
        let spread = |it: Spread| {
            format!("{:.1} ms (median {:.1}, most {:.1}, of {})", it.p99_ms, it.p50_ms, it.max_ms, it.count)
        };
        let or_none = |it: Option<Spread>| it.map_or("not measured".to_owned(), spread);
        let mib = |it: f64| format!("{it:.2} MiB");
        let rows = [
            ("route: watch event → first request routed by it, p99", "20 ms", or_none(self.route_from_event)),
            ("route: API server's answer → the same, p99", "150 ms", or_none(self.route_from_answer)),
            ("endpoint: watch event → not used any more, p99", "10 ms", or_none(self.endpoint_from_event)),
            ("controller memory", "150 MiB", mib(self.controller_mib)),
            ("controller start → all proxies fed", "5 s", format!("{:.2} s", self.start_to_all_fed_s)),
            (
                "proxy memory over an empty mesh",
                "2 MiB",
                self.proxy_more_mib().map_or("not measured".to_owned(), mib),
            ),
            ("route: watch event → played proxies, p99", "", spread(self.route_played)),
            ("endpoint: watch event → played proxies, p99", "", spread(self.endpoint_played)),
            ("controller memory, largest at start", "", mib(self.controller_start_peak_mib)),
            ("controller memory after all changes", "", mib(self.controller_changed_mib)),
            ("controller memory, largest", "", mib(self.controller_peak_mib)),
            (
                "controller's processor time for a change",
                "",
                format!("{:.2} ms", self.processor_ms_per_change),
            ),
        ];
        for (figure, limit, value) in rows {
            writeln!(f, "| {figure} | {limit} | {value} |")?;
        }
        for Stage { name, count, mean_ms, p99_at_most_ms } in &self.stages {
            let value = format!("mean {mean_ms:.2} ms, p99 ≤ {p99_at_most_ms} ms, of {count}");
            writeln!(f, "| controller: event → {name} | | {value} |")?;
        }
        let proxy = [self.proxy_empty_mib, self.proxy_mib, self.proxy_changed_mib];
        if let [Some(empty), Some(full), Some(after)] = proxy {
            writeln!(
                f,
                "| proxy memory: empty mesh, this one, after all changes | | {empty:.2}, {full:.2}, {after:.2} MiB |"
            )?;
        }
        Ok(())
    }
}
