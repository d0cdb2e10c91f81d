// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tmemctl metrics`: the statistics in `OpenMetrics` text format, for Prometheus and the like.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::statistics::{Client, Pool, PoolKind, Statistics};

const FRAME_BYTES: u64 = 4096;
const MIB_BYTES: u64 = 1 << 20;

type Labels = Vec<(&'static str, String)>;

/// A figure, and the labels of what it is about.
type Sample = (Labels, u64);

/// A name, what it means, and the figure.
type Metric<T> = (&'static str, &'static str, fn(&T) -> u64);

/// All figures.
///
/// # Errors
/// None are known: a string takes any text.
pub fn text(statistics: &Statistics) -> Result<String, fmt::Error> {
    let mut families = Families(Registry::with_prefix("tmem"));
    of_store(&mut families, statistics);
    of_domains(&mut families, &statistics.clients);
    of_pools(&mut families, statistics);
    let mut text = String::new();
    encode(&mut text, &families.0)?;
    Ok(text)
}

fn of_store(families: &mut Families, statistics: &Statistics) {
    let store = &statistics.store;
    families.bytes(
        "memory",
        "Host memory used by tmem, metadata included",
        by_kind(store.ephemeral_frames, store.persistent_frames).map(in_bytes),
    );
    families.bytes(
        "freeable",
        "Memory that tmem could give back",
        [(vec![], u64::from(statistics.freeable_mib) * MIB_BYTES)],
    );
    families.gauge(
        "pages",
        "Pages stored",
        by_kind(
            store.ephemeral_pages,
            store.pages.saturating_sub(store.ephemeral_pages),
        ),
    );
    families.counter(
        "failed_allocations",
        "Allocations of a frame that Xen refused",
        [
            (
                vec![("for", "data".to_owned())],
                store.failed_data_allocations,
            ),
            (
                vec![("for", "metadata".to_owned())],
                store.failed_metadata_allocations,
            ),
        ],
    );
    for (name, help, value) in [
        ("operations", "Puts, gets and flushes", store.operations),
        (
            "failed_puts",
            "Puts refused, and puts that lost the page they were to replace",
            store.failed_puts,
        ),
        (
            "failed_copies",
            "Copies from or to a guest that failed",
            store.failed_copies,
        ),
        (
            "evicted_pages",
            "Ephemeral pages evicted",
            store.evicted_pages,
        ),
        (
            "reclaim_requests",
            "Times that tmem was asked to give memory back",
            store.reclaim_requests,
        ),
        (
            "reclaimed_frames",
            "Frames of 4 KiB given back",
            store.reclaimed_frames,
        ),
    ] {
        families.counter(name, help, [(vec![], value)]);
    }
}

fn of_domains(families: &mut Families, clients: &[Client]) {
    let each = |figure: fn(&Client) -> u64| {
        (clients.iter()).map(move |client| (domain(client), figure(client)))
    };
    let each_by_kind = |ephemeral: fn(&Client) -> u64, persistent: fn(&Client) -> u64| {
        clients.iter().flat_map(move |client| {
            by_kind(ephemeral(client), persistent(client))
                .map(|(kind, value)| ([domain(client), kind].concat(), value))
        })
    };
    families.bytes(
        "domain_memory",
        "Host memory used for a domain, metadata included",
        each_by_kind(
            |client| client.ephemeral_frames,
            |client| client.persistent_frames,
        )
        .map(in_bytes),
    );
    families.gauge(
        "domain_pages",
        "Pages stored by a domain",
        each_by_kind(|client| client.ephemeral_pages, Client::persistent_pages),
    );
    families.bytes(
        "domain_cap",
        "Limit on the persistent memory of a domain, where one is set",
        (clients.iter())
            .filter_map(|client| Some((domain(client), client.cap_frames?)))
            .map(in_bytes),
    );
    families.bytes(
        "domain_quota",
        "Persistent memory of a domain that does not count towards its limit",
        (clients.iter())
            .filter_map(|client| Some((domain(client), client.quota_frames?)))
            .map(in_bytes),
    );
    families.gauge(
        "domain_weight",
        "Weight of a domain; 0 means that none is set",
        each(|client| client.weight.into()),
    );
    families.gauge(
        "domain_frozen",
        "Whether a domain is kept from putting new pages",
        each(|client| client.frozen.into()),
    );
    families.gauge(
        "domain_being_saved",
        "Whether a domain is being saved",
        each(|client| client.being_saved.into()),
    );
    families.gauge(
        "domain_compress",
        "Whether a domain's pages are compressed",
        each(|client| client.compress.into()),
    );
}

fn of_pools(families: &mut Families, statistics: &Statistics) {
    let pools: Vec<_> = labelled(statistics).collect();
    let each = |figure: fn(&Pool) -> u64| {
        pools
            .iter()
            .map(move |(labels, pool)| (labels.clone(), figure(pool)))
    };
    families.gauge("pool_pages", "Pages in a pool", each(|pool| pool.pages));
    let counters: [Metric<Pool>; 10] = [
        ("pool_puts", "Puts", |pool| pool.puts),
        ("pool_puts_stored", "Puts that succeeded", |pool| {
            pool.puts_stored
        }),
        (
            "pool_puts_refused",
            "Puts refused for lack of memory",
            |pool| pool.puts_refused,
        ),
        (
            "pool_pages_lost",
            "Pages lost to a put that failed to replace them",
            |pool| pool.pages_lost,
        ),
        ("pool_gets", "Gets", |pool| pool.gets),
        ("pool_hits", "Gets that found their page", |pool| pool.hits),
        ("pool_page_flushes", "Flushes of a page", |pool| {
            pool.page_flushes
        }),
        ("pool_object_flushes", "Flushes of an object", |pool| {
            pool.object_flushes
        }),
        ("pool_evicted_pages", "Pages evicted from a pool", |pool| {
            pool.evicted_pages
        }),
        ("pool_pages_replaced", "Pages replaced by a put", |pool| {
            pool.pages_replaced
        }),
    ];
    for (name, help, figure) in counters {
        families.counter(name, help, each(figure));
    }
}

/// Every pool once. A shared pool is listed with each of its users, with the same figures.
fn labelled(statistics: &Statistics) -> impl Iterator<Item = (Labels, &Pool)> {
    let private = statistics.clients.iter().flat_map(|client| {
        (client.pools.iter())
            .filter(|pool| pool.kind != PoolKind::Shared)
            .map(|pool| {
                let mut labels = domain(client);
                labels.extend(pool.id.map(|id| ("pool", id.to_string())));
                labels.push(("type", pool.kind.name().to_owned()));
                (labels, pool)
            })
    });
    let shared = statistics.shared_pools.iter().map(|pool| {
        let mut labels = vec![("type", pool.kind.name().to_owned())];
        labels.extend(pool.uuid.map(|uuid| ("uuid", uuid.to_string())));
        (labels, pool)
    });
    private.chain(shared)
}

fn domain(client: &Client) -> Labels {
    let mut labels = vec![("domain", client.domain.to_string())];
    labels.extend(client.name.clone().map(|name| ("name", name)));
    labels
}

fn by_kind(ephemeral: u64, persistent: u64) -> [Sample; 2] {
    [("ephemeral", ephemeral), ("persistent", persistent)]
        .map(|(kind, value)| (vec![("type", kind.to_owned())], value))
}

fn in_bytes((labels, frames): Sample) -> Sample {
    (labels, frames * FRAME_BYTES)
}

/// Metrics, each with its samples.
struct Families(Registry);

impl Families {
    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        self.0.register(name, help, gauges(samples));
    }

    fn bytes(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        (self.0).register_with_unit(name, help, Unit::Bytes, gauges(samples));
    }

    fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }
}

fn gauges(samples: impl IntoIterator<Item = Sample>) -> Family<Labels, Gauge<u64, AtomicU64>> {
    let family = Family::<Labels, Gauge<u64, AtomicU64>>::default();
    for (labels, value) in samples {
        family.get_or_create(&labels).set(value);
    }
    family
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::statistics::tests::statistics;

    #[test]
    fn figures_are_metrics_with_labels() {
        let mut statistics = statistics();
        statistics.freeable_mib = 2;
        statistics.clients[1].name = Some("web \"1\"".into());
        statistics.clients[1].quota_frames = Some(1);
        let text = text(&statistics).unwrap();
        for line in [
            "# TYPE tmem_memory_bytes gauge",
            "# UNIT tmem_memory_bytes bytes",
            "tmem_memory_bytes{type=\"ephemeral\"} 262144",
            "tmem_freeable_bytes 2097152",
            "tmem_pages{type=\"persistent\"} 12",
            "# TYPE tmem_evicted_pages counter",
            "tmem_evicted_pages_total 40",
            "tmem_domain_weight{domain=\"3\",name=\"web \\\"1\\\"\"} 100",
            "tmem_domain_frozen{domain=\"1\"} 1",
            "tmem_domain_cap_bytes{domain=\"3\",name=\"web \\\"1\\\"\"} 2097152",
            "tmem_domain_quota_bytes{domain=\"3\",name=\"web \\\"1\\\"\"} 4096",
            "tmem_pool_hits_total{domain=\"3\",name=\"web \\\"1\\\"\",pool=\"1\",type=\"persistent\"} 40",
            "tmem_pool_pages{type=\"shared\",uuid=\"efcdab89-6745-2301-1000-000000000000\"} 4",
        ] {
            assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(
            !text.contains("tmem_domain_cap_bytes{domain=\"1\""),
            "{text}"
        );
    }

    /// The names of metrics in a text.
    fn named(text: &str) -> BTreeSet<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("tmem_"))
            .collect()
    }

    #[test]
    fn the_guide_names_each_metric_and_the_dashboard_no_other() {
        let mut statistics = statistics();
        statistics.clients[1].quota_frames = Some(1);
        let text = text(&statistics).unwrap();
        let samples: BTreeSet<_> = (text.lines())
            .filter(|line| !line.starts_with('#'))
            .flat_map(named)
            .collect();
        let guide = include_str!("../../docs/admin.md");
        let unnamed: Vec<_> = samples.difference(&named(guide)).copied().collect();
        assert_eq!(unnamed, [""; 0], "not in the guide");
        let dashboard = include_str!("../grafana/tmem.json");
        let unknown: Vec<_> = named(dashboard).difference(&samples).copied().collect();
        assert_eq!(unknown, [""; 0], "in the dashboard only");
        assert!(named(dashboard).len() > 8);
    }

    #[test]
    fn a_store_without_clients_has_figures_too() {
        let text = text(&Statistics::default()).unwrap();
        assert!(text.contains("tmem_operations_total 0"));
    }
}
