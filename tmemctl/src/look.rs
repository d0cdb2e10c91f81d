// SPDX-License-Identifier: MIT OR Apache-2.0
//! The statistics at this moment, with what Xen's own list does not say.

use anyhow::Result;

use crate::control::{Tmem, Whom};
use crate::statistics::Statistics;
use xenstore_client::Xenstore;

/// Fetches the statistics.
///
/// # Errors
/// If Xen does not answer.
pub fn look(tmem: &mut Tmem) -> Result<Statistics> {
    let mut statistics = Statistics::read(&tmem.list(Whom::All)?)?;
    statistics.freeable_mib = tmem.freeable()?;
    // The figures are useful without names, too.
    if let Ok(mut store) = Xenstore::connect() {
        for client in &mut statistics.clients {
            client.name = store.name(client.domain);
        }
    }
    Ok(statistics)
}
