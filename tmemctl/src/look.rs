// SPDX-License-Identifier: MIT OR Apache-2.0
//! What there is to see right now: tmem's statistics, with what Xen's list does not say.

use anyhow::Result;

use crate::control::{Tmem, Whom};
use crate::statistics::Statistics;
use xenstore_client::Xenstore;

/// Looks.
///
/// # Errors
/// If Xen does not answer.
pub fn look(tmem: &mut Tmem) -> Result<Statistics> {
    let mut statistics = Statistics::read(&tmem.list(Whom::All)?)?;
    statistics.freeable_mib = tmem.freeable()?;
    // Without names, figures are still of use.
    if let Ok(mut store) = Xenstore::connect() {
        for client in &mut statistics.clients {
            client.name = store.name(client.domain);
        }
    }
    Ok(statistics)
}
