// SPDX-License-Identifier: MIT OR Apache-2.0
//! Before `tmem_rs_init`.

mod c_side;

use c_side::Domain;
use hypercall_abi::{Command, NativeOp, PoolFlags};
use tmem_xen_shim::tmem_rs_wait::Always;
use tmem_xen_shim::{TMEM_RS_OVER, tmem_rs_freeable, tmem_rs_relinquish};

#[test]
fn every_command_says_so_while_tmem_is_off() {
    let domain = Domain::new();
    for command in Command::ALL {
        assert_eq!(domain.native(&NativeOp::command(command.number(), 0)), -19);
    }
    assert_eq!(
        domain.native(&NativeOp::new_pool(PoolFlags::PRIVATE_EPHEMERAL, [0; 2])),
        -19
    );
    let mut round = 0;
    // SAFETY: the first call of a series.
    assert_eq!(unsafe { tmem_rs_relinquish(1, Always, &raw mut round) }, 0);
    assert_eq!((round, tmem_rs_freeable()), (TMEM_RS_OVER, 0));
    domain.destroy();
}
