// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tmem says about itself: lines of `X=key:value,key:value...`.
//!
//! The first letter says what the line is about: `G` the whole store, `S` a shared pool, `C` a client, `P` a client's pool,
//! `T` times. Keys have two letters and mean the same for good; there may be more of them than are known here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Keys of each kind of line, and their names for people and programs.
const NAMES: &[(char, &str, &str)] = &[
    ('G', "Tt", "operations"),
    ('G', "Te", "failed_operations"),
    ('G', "Cf", "failed_copies"),
    ('G', "Af", "failed_allocations"),
    ('G', "Pf", "failed_page_allocations"),
    ('G', "Ta", "free_pages_held"),
    ('G', "Lm", "low_on_memory"),
    ('G', "Et", "evicted_pages"),
    ('G', "Ea", "eviction_attempts"),
    ('G', "Rt", "pages_given_back"),
    ('G', "Ra", "give_back_attempts"),
    ('G', "Rx", "most_evictions_for_one"),
    ('G', "Fp", "pools_flushed"),
    ('G', "Ec", "ephemeral_pages"),
    ('G', "Em", "ephemeral_pages_max"),
    ('G', "Oc", "objects"),
    ('G', "Om", "objects_max"),
    ('G', "Nc", "tree_nodes"),
    ('G', "Nm", "tree_nodes_max"),
    ('G', "Pc", "pages"),
    ('G', "Pm", "pages_max"),
    ('G', "Fc", "frames"),
    ('G', "Fm", "frames_max"),
    ('G', "Sc", "shared_contents"),
    ('G', "Sm", "shared_contents_max"),
    ('G', "Ep", "ephemeral_puts"),
    ('G', "Gd", "deduplicated_puts"),
    ('G', "cl", "clients"),
    ('G', "po", "pools"),
    ('G', "fe", "ephemeral_frames"),
    ('G', "fp", "persistent_frames"),
    ('C', "CI", "domain"),
    ('C', "ww", "weight"),
    ('C', "co", "compress"),
    ('C', "fr", "frozen"),
    ('C', "Tc", "cycles"),
    ('C', "Ge", "ephemeral_gets"),
    ('C', "Pp", "persistent_puts"),
    ('C', "Gp", "persistent_gets"),
    ('C', "Ec", "ephemeral_pages"),
    ('C', "Em", "ephemeral_pages_max"),
    ('C', "Pc", "pages"),
    ('C', "fe", "ephemeral_frames"),
    ('C', "fp", "persistent_frames"),
    ('C', "ca", "cap_frames"),
    ('C', "sv", "being_saved"),
    ('P', "CI", "domain"),
    ('P', "PI", "pool"),
    ('P', "PT", "type"),
    ('P', "U0", "uuid_0"),
    ('P', "U1", "uuid_1"),
    ('P', "Pc", "pages"),
    ('P', "Pm", "pages_max"),
    ('P', "Oc", "objects"),
    ('P', "Om", "objects_max"),
    ('P', "Nc", "tree_nodes"),
    ('P', "Nm", "tree_nodes_max"),
    ('P', "ps", "good_puts"),
    ('P', "pt", "puts"),
    ('P', "pd", "pages_lost"),
    ('P', "pr", "pages_replaced"),
    ('P', "px", "refused_puts"),
    ('P', "gs", "good_gets"),
    ('P', "gt", "gets"),
    ('P', "fs", "good_flushes"),
    ('P', "ft", "flushes"),
    ('P', "os", "good_object_flushes"),
    ('P', "ot", "object_flushes"),
    ('P', "pe", "evicted_pages"),
];

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    kind: char,
    /// In the order in which they came.
    fields: Vec<(String, String)>,
}

impl Record {
    fn read(line: &str) -> Option<Self> {
        let (kind, fields) = line.trim().split_once('=')?;
        let mut letters = kind.chars();
        let kind = letters.next().filter(|_| letters.next().is_none())?;
        Some(Self {
            kind,
            fields: fields
                .split(',')
                .filter_map(|field| field.split_once(':'))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        })
    }

    /// The text under a key; empty if it has none.
    pub fn text(&self, key: &str) -> &str {
        self.fields
            .iter()
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value)
    }

    /// The number under a key; 0 if it has none.
    pub fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or(0)
    }

    fn is_pool(&self) -> bool {
        matches!(self.kind, 'P' | 'S')
    }

    /// Whether a pool's pages stay until they are flushed.
    pub fn is_persistent(&self) -> bool {
        self.text("PT").starts_with('P')
    }

    /// Whether a pool may be shared.
    pub fn is_shared(&self) -> bool {
        self.kind == 'S' || self.text("PT").ends_with('S')
    }

    fn json(&self) -> Map<String, Value> {
        let kind = if self.is_pool() { 'P' } else { self.kind };
        self.fields
            .iter()
            .map(|(key, value)| {
                let name = NAMES
                    .iter()
                    .find(|(of, short, _)| *of == kind && short == key)
                    .map_or(key.as_str(), |(_, _, name)| name);
                let value = match value.parse::<u64>() {
                    Ok(number) if !matches!(key.as_str(), "U0" | "U1") => number.into(),
                    _ => value.as_str().into(),
                };
                (name.to_owned(), value)
            })
            .collect()
    }
}

/// A client and its pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub domain: u16,
    /// Its domain's name, if that is known.
    pub name: Option<String>,
    pub record: Record,
    pub pools: Vec<Record>,
}

impl Client {
    /// The sum of a key over its pools, or over those that `which` wants.
    pub fn sum(&self, key: &str, which: impl Fn(&Record) -> bool) -> u64 {
        self.pools
            .iter()
            .filter(|pool| which(pool))
            .map(|pool| pool.number(key))
            .sum()
    }
}

/// All that one list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The whole store.
    pub global: Option<Record>,
    pub clients: Vec<Client>,
    /// Shared pools.
    pub shared: Vec<Record>,
    others: Vec<Record>,
}

impl Statistics {
    /// Reads a list.
    pub fn read(text: &str) -> Self {
        let mut statistics = Self::default();
        let mut pools: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
        for record in text.lines().filter_map(Record::read) {
            match record.kind {
                'G' => statistics.global = Some(record),
                'S' => statistics.shared.push(record),
                'P' => pools.entry(record.number("CI")).or_default().push(record),
                'C' => statistics.clients.push(Client {
                    domain: record.number("CI") as u16,
                    name: None,
                    record,
                    pools: Vec::new(),
                }),
                _ => statistics.others.push(record),
            }
        }
        for client in &mut statistics.clients {
            client.pools = pools.remove(&client.domain.into()).unwrap_or_default();
        }
        statistics.clients.sort_by_key(|client| client.domain);
        statistics
    }

    /// The client of that domain.
    pub fn client(&self, domain: u16) -> Option<&Client> {
        self.clients.iter().find(|client| client.domain == domain)
    }

    /// For programs: every figure under a name that speaks.
    pub fn json(&self, freeable_mib: u32) -> Value {
        let all = |records: &[Record]| records.iter().map(Record::json).collect::<Vec<_>>();
        let clients: Vec<_> = self
            .clients
            .iter()
            .map(|client| {
                let mut json = client.record.json();
                json.insert("name".into(), json!(client.name));
                json.insert("pools".into(), json!(all(&client.pools)));
                json
            })
            .collect();
        json!({
            "freeable_mib": freeable_mib,
            "global": self.global.as_ref().map(Record::json),
            "clients": clients,
            "shared_pools": all(&self.shared),
            "others": all(&self.others),
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// As Xen prints it.
    pub const LIST: &str = "\
G=Tt:1200,Te:3,Cf:0,Af:0,Pf:0,Et:40,Rt:0,Ra:0,Ec:130,Pc:142,Fc:80,Ep:170,cl:2,po:2,fe:64,fp:16,XX:9\n\
S=PT:ES,U0:123456789abcdef,U1:10,Pc:4\n\
C=CI:3,ww:100,co:1,fr:0,Ge:20,Pp:30,Gp:40,Ec:130,Pc:142,fe:64,fp:7,sv:0,ca:512\n\
P=CI:3,PI:0,PT:EP,U0:0,U1:0,Pc:130,ps:170,pt:171,pd:0,pr:0,px:1,gs:20,gt:30,fs:1,ft:2,os:0,ot:0,pe:40\n\
P=CI:3,PI:1,PT:PP,U0:0,U1:0,Pc:12,ps:30,pt:30,pd:0,pr:0,px:0,gs:40,gt:40,fs:18,ft:18,os:0,ot:0,pe:0\n\
C=CI:1,ww:0,co:0,fr:1,Ge:0,Pp:0,Gp:0,Ec:0,Pc:0,fe:0,fp:0,sv:0\n\
T=put:1\n";

    #[test]
    fn lists_are_read() {
        let statistics = Statistics::read(LIST);
        assert_eq!(statistics.global.as_ref().unwrap().number("Tt"), 1200);
        let domains: Vec<_> = statistics.clients.iter().map(|c| c.domain).collect();
        assert_eq!(domains, [1, 3]);
        let client = statistics.client(3).unwrap();
        assert_eq!(client.pools.len(), 2);
        assert_eq!(client.sum("pt", |_| true), 201);
        assert_eq!(client.sum("Pc", Record::is_persistent), 12);
        assert!(statistics.shared[0].is_shared());
    }

    #[test]
    fn what_is_unknown_or_broken_does_no_harm() {
        let statistics = Statistics::read("Q=a:1\nnonsense\nCC=CI:1\n=\nC=CI:x,ww\n");
        assert_eq!(statistics.clients.len(), 1);
        assert_eq!(statistics.clients[0].record.number("ww"), 0);
        assert_eq!(Statistics::read(""), Statistics::default());
    }

    #[test]
    fn programs_read_names_that_speak() {
        let json = Statistics::read(LIST).json(7);
        assert_eq!(json["freeable_mib"], 7);
        assert_eq!(json["global"]["evicted_pages"], 40);
        assert_eq!(json["global"]["XX"], 9);
        assert_eq!(json["clients"][1]["weight"], 100);
        assert_eq!(json["clients"][1]["pools"][1]["good_gets"], 40);
        assert_eq!(json["shared_pools"][0]["uuid_1"], "10");
    }
}
