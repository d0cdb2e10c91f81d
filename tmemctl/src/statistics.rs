// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tmem says about itself, with names for the figures.
//!
//! Xen's list is lines of `X=key:value,key:value…`. The first letter says what a line is about: `G` the whole store, `S` a
//! shared pool, `C` a client, `P` a client's pool. Keys have two letters; `tmem-xen-shim/src/list.rs` has them all. The
//! structures below give each key its name, which is also its name in JSON: to show another figure, add a field. A key
//! without a field is kept under its two letters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// Figures without a name here, by key.
type Others = BTreeMap<String, Value>;

/// Everything that one list says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Statistics {
    /// How many MiB could be given back; not part of the list itself.
    pub freeable_mib: u32,
    pub store: Store,
    /// By domain id.
    pub clients: Vec<Client>,
    pub shared_pools: Vec<Pool>,
}

/// The whole store. Events are counted since the host booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Store {
    #[serde(rename(deserialize = "cl"))]
    pub clients: u64,
    #[serde(rename(deserialize = "po"))]
    pub pools: u64,
    #[serde(rename(deserialize = "Pc"))]
    pub pages: u64,
    #[serde(rename(deserialize = "Ec"))]
    pub ephemeral_pages: u64,
    #[serde(rename(deserialize = "Fc"))]
    pub frames: u64,
    #[serde(rename(deserialize = "fe"))]
    pub ephemeral_frames: u64,
    #[serde(rename(deserialize = "fp"))]
    pub persistent_frames: u64,
    #[serde(rename(deserialize = "Tt"))]
    pub operations: u64,
    /// Puts that were refused, or that lost the page they should have replaced.
    #[serde(rename(deserialize = "Te"))]
    pub failed_puts: u64,
    /// Copies from or to a guest.
    #[serde(rename(deserialize = "Cf"))]
    pub failed_copies: u64,
    #[serde(rename(deserialize = "Af"))]
    pub failed_metadata_allocations: u64,
    #[serde(rename(deserialize = "Pf"))]
    pub failed_data_allocations: u64,
    /// Only in pools that still exist.
    #[serde(rename(deserialize = "Ep"))]
    pub ephemeral_puts_stored: u64,
    #[serde(rename(deserialize = "Et"))]
    pub evicted_pages: u64,
    #[serde(rename(deserialize = "Rt"))]
    pub reclaimed_frames: u64,
    #[serde(rename(deserialize = "Ra"))]
    pub reclaim_requests: u64,
    #[serde(flatten)]
    pub others: Others,
}

/// A domain that uses tmem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Client {
    #[serde(rename(deserialize = "CI"))]
    pub domain: u16,
    /// From Xenstore, if it has one.
    #[serde(skip_deserializing)]
    pub name: Option<String>,
    #[serde(rename(deserialize = "ww"))]
    pub weight: u32,
    /// The limit on persistent memory, if one is set.
    #[serde(rename(deserialize = "ca"))]
    pub cap_frames: Option<u64>,
    /// Persistent memory that does not count towards the domain's limit; `None` from a Xen that has no such quota.
    #[serde(rename(deserialize = "qu"), default)]
    pub quota_frames: Option<u64>,
    #[serde(rename(deserialize = "co"), deserialize_with = "flag")]
    pub compress: bool,
    #[serde(rename(deserialize = "fr"), deserialize_with = "flag")]
    pub frozen: bool,
    #[serde(rename(deserialize = "sv"), deserialize_with = "flag")]
    pub being_saved: bool,
    #[serde(rename(deserialize = "Pc"))]
    pub pages: u64,
    #[serde(rename(deserialize = "Ec"))]
    pub ephemeral_pages: u64,
    #[serde(rename(deserialize = "fe"))]
    pub ephemeral_frames: u64,
    #[serde(rename(deserialize = "fp"))]
    pub persistent_frames: u64,
    #[serde(rename(deserialize = "Ge"))]
    pub ephemeral_hits: u64,
    #[serde(rename(deserialize = "Gp"))]
    pub persistent_hits: u64,
    #[serde(rename(deserialize = "Pp"))]
    pub persistent_puts_stored: u64,
    #[serde(skip_deserializing)]
    pub pools: Vec<Pool>,
    #[serde(flatten)]
    pub others: Others,
}

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Pool {
    /// The domain whose pool it is; a shared pool has several users.
    #[serde(rename(deserialize = "CI"), skip_serializing)]
    domain: Option<u16>,
    /// The client's number for it.
    #[serde(rename(deserialize = "PI"), skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    #[serde(rename(deserialize = "PT", serialize = "type"))]
    pub kind: PoolKind,
    /// The name of a shared pool.
    pub uuid: Option<Uuid>,
    #[serde(rename(deserialize = "Pc"))]
    pub pages: u64,
    #[serde(rename(deserialize = "pt"))]
    pub puts: u64,
    #[serde(rename(deserialize = "ps"))]
    pub puts_stored: u64,
    #[serde(rename(deserialize = "px"))]
    pub puts_refused: u64,
    #[serde(rename(deserialize = "pr"))]
    pub pages_replaced: u64,
    /// Pages lost to a put that should have replaced them and failed.
    #[serde(rename(deserialize = "pd"))]
    pub pages_lost: u64,
    #[serde(rename(deserialize = "gt"))]
    pub gets: u64,
    #[serde(rename(deserialize = "gs"))]
    pub hits: u64,
    #[serde(rename(deserialize = "ft"))]
    pub page_flushes: u64,
    #[serde(rename(deserialize = "fs"))]
    pub page_flushes_found: u64,
    #[serde(rename(deserialize = "ot"))]
    pub object_flushes: u64,
    #[serde(rename(deserialize = "os"))]
    pub object_flushes_found: u64,
    #[serde(rename(deserialize = "pe"))]
    pub evicted_pages: u64,
    #[serde(flatten)]
    pub others: Others,
}

/// What kind of pages a pool holds, and whether it is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all(serialize = "lowercase"))]
pub enum PoolKind {
    #[default]
    #[serde(rename(deserialize = "EP"))]
    Ephemeral,
    #[serde(rename(deserialize = "PP"))]
    Persistent,
    #[serde(rename(deserialize = "ES"))]
    Shared,
}

impl PoolKind {
    /// Its name in tables, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::Persistent => "persistent",
            Self::Shared => "shared",
        }
    }
}

impl Client {
    pub fn persistent_pages(&self) -> u64 {
        self.pages - self.ephemeral_pages.min(self.pages)
    }

    pub fn frames(&self) -> u64 {
        self.ephemeral_frames + self.persistent_frames
    }

    /// The sum of a figure over the client's pools.
    pub fn sum(&self, figure: impl Fn(&Pool) -> u64) -> u64 {
        self.pools.iter().map(figure).sum()
    }
}

impl Pool {
    pub fn flushes(&self) -> u64 {
        self.page_flushes + self.object_flushes
    }
}

impl Statistics {
    /// Reads Xen's list. Lines of other kinds are skipped.
    ///
    /// # Errors
    /// If a value does not fit its key.
    pub fn read(list: &str) -> Result<Self> {
        let mut statistics = Self::default();
        let mut pools = Vec::new();
        for line in list.lines() {
            let Some((kind, fields)) = line.split_once('=') else {
                continue;
            };
            let unreadable = || format!("cannot make sense of this line of Xen's: {line}");
            match kind {
                "G" => statistics.store = figures(fields).with_context(unreadable)?,
                "S" => (statistics.shared_pools).push(figures(fields).with_context(unreadable)?),
                "C" => (statistics.clients).push(figures(fields).with_context(unreadable)?),
                "P" => pools.push(figures::<Pool>(fields).with_context(unreadable)?),
                _ => {}
            }
        }
        for client in &mut statistics.clients {
            let is_its = |pool: &mut Pool| pool.domain == Some(client.domain);
            client.pools = pools.extract_if(.., is_its).collect();
        }
        statistics.clients.sort_by_key(|client| client.domain);
        Ok(statistics)
    }

    /// The client of that domain.
    pub fn client(&self, domain: u16) -> Option<&Client> {
        self.clients.iter().find(|client| client.domain == domain)
    }
}

/// A structure from the fields of its line.
fn figures<T: for<'de> Deserialize<'de>>(fields: &str) -> Result<T> {
    let mut uuid = [0; 2];
    let mut figures = Map::new();
    for (key, value) in fields.split(',').filter_map(|field| field.split_once(':')) {
        match key {
            "U0" => uuid[0] = u64::from_str_radix(value, 16)?,
            "U1" => uuid[1] = u64::from_str_radix(value, 16)?,
            _ => {
                let value = value
                    .parse::<u64>()
                    .map_or_else(|_| value.into(), Value::from);
                figures.insert(key.to_owned(), value);
            }
        }
    }
    if uuid != [0; 2] {
        // The words of a UUID are its bytes as they are in memory.
        let uuid = Uuid::from_u128_le(u128::from(uuid[1]) << 64 | u128::from(uuid[0]));
        figures.insert("uuid".to_owned(), uuid.to_string().into());
    }
    Ok(serde_json::from_value(Value::Object(figures))?)
}

fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(u8::deserialize(from)? != 0)
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
Q=put:1\n";

    pub fn statistics() -> Statistics {
        Statistics::read(LIST).unwrap()
    }

    #[test]
    fn a_list_is_read() {
        let statistics = statistics();
        assert_eq!(statistics.store.operations, 1200);
        let domains: Vec<_> = statistics.clients.iter().map(|c| c.domain).collect();
        assert_eq!(domains, [1, 3]);
        assert!(statistics.clients[0].frozen && !statistics.clients[0].compress);
        let client = statistics.client(3).unwrap();
        assert_eq!(client.pools.len(), 2);
        assert_eq!(client.sum(|pool| pool.puts), 201);
        assert_eq!(client.persistent_pages(), 12);
        assert_eq!(client.cap_frames, Some(512));
    }

    #[test]
    fn what_is_unknown_is_passed_over_and_what_is_broken_is_named() {
        let statistics = Statistics::read("Q=a:1\nnonsense\nCC=CI:1\n=\nC=CI:7,ww\n").unwrap();
        assert_eq!(statistics.clients.len(), 1);
        assert_eq!(statistics.clients[0].weight, 0);
        assert_eq!(Statistics::read("").unwrap(), Statistics::default());
        for broken in ["C=CI:x", "P=CI:1,PT:QQ", "S=U0:xyz", "C=CI:70000"] {
            let error = Statistics::read(broken).unwrap_err();
            assert!(error.to_string().contains(broken), "{error}");
        }
    }

    #[test]
    fn programs_read_names_that_speak() {
        let json = serde_json::to_value(statistics()).unwrap();
        assert_eq!(json["store"]["evicted_pages"], 40);
        assert_eq!(json["store"]["XX"], 9);
        assert_eq!(json["clients"][1]["weight"], 100);
        assert_eq!(json["clients"][0]["frozen"], true);
        assert_eq!(json["clients"][1]["pools"][1]["hits"], 40);
        assert_eq!(json["clients"][1]["pools"][1]["type"], "persistent");
        assert_eq!(json["clients"][1]["pools"][1]["uuid"], Value::Null);
        assert_eq!(
            json["shared_pools"][0]["uuid"],
            "efcdab89-6745-2301-1000-000000000000"
        );
    }

    const SCHEMA: &str = "schema/list.json";

    /// What `list --json` prints, as a JSON schema.
    fn schema() -> Value {
        let contract = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        let schema = contract
            .into_generator()
            .into_root_schema_for::<Statistics>();
        schema.to_value()
    }

    /// The schema is a promise to programs: names may be added, but none may go or change. `UPDATE_SCHEMA=1 cargo test
    /// -p tmemctl` writes a new one.
    #[test]
    fn the_schema_that_is_installed_is_that_of_the_structures() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA);
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "in {SCHEMA}");
    }

    #[test]
    fn the_schema_names_exactly_what_is_printed() {
        let schema = schema();
        let mut statistics = statistics();
        // Figures without names have no place in a schema.
        statistics.store.others.clear();
        let printed = serde_json::to_value(statistics).unwrap();
        let properties = |name: &str| &schema["$defs"][name]["properties"];
        let keys = |object: &Value| {
            let object = object
                .as_object()
                .unwrap_or_else(|| panic!("{object} is no object"));
            object
                .keys()
                .cloned()
                .collect::<std::collections::BTreeSet<_>>()
        };
        for (named, printed) in [
            (&schema["properties"], &printed),
            (properties("Store"), &printed["store"]),
            (properties("Client"), &printed["clients"][1]),
            (properties("Pool"), &printed["clients"][1]["pools"][0]),
        ] {
            assert_eq!(keys(named), keys(printed));
        }
    }

    /// The keys of a kind of line, from the table at the top of the file that writes them.
    fn written_keys(kind: &str) -> Vec<&'static str> {
        let row = include_str!("../../tmem-xen-shim/src/list.rs")
            .lines()
            .find_map(|line| line.strip_prefix(&format!("//! | `{kind}` |")))
            .expect("the table has a row for each kind of line");
        row.split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.len() == 2 && !matches!(*word, "U0" | "U1" | "PT" | "ES"))
            .collect()
    }

    /// Gives each key a different value, so that each field can be told from its default.
    fn named<T: Serialize + for<'de> Deserialize<'de>>(keys: &[&str]) -> Map<String, Value> {
        let line: Vec<_> = (1..)
            .zip(keys)
            .map(|(n, key)| format!("{key}:{n}"))
            .collect();
        let figures: T = figures(&line.join(",")).unwrap();
        match serde_json::to_value(figures).unwrap() {
            Value::Object(named) => named,
            _ => unreachable!("a structure is an object"),
        }
    }

    #[test]
    fn what_xen_writes_has_a_name_and_what_has_a_name_is_written() {
        let store = written_keys("G");
        let client = written_keys("C");
        let pool = written_keys("P");
        for (keys, named, without_key) in [
            (&store, named::<Store>(&store), &[][..]),
            (&client, named::<Client>(&client), &["name", "pools"]),
            (&pool, named::<Pool>(&pool), &["type", "uuid"]),
        ] {
            assert!(keys.len() > 6, "{keys:?}");
            for (name, value) in named {
                assert!(!keys.contains(&&*name), "{name} has no field");
                let is_default = matches!(value, Value::Null | Value::Bool(false)) || value == 0;
                assert!(
                    !is_default || without_key.contains(&&*name),
                    "Xen writes no key for {name}"
                );
            }
        }
    }
}
