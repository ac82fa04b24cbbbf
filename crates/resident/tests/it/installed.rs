//! Everything that other tests install, installed by one test.
//!
//! Tests run where no other machine can be reached (`./x test`), and this one runs before.

#[cfg(target_os = "linux")]
use crate::foreign;
use crate::{agents, described, libraries, mcp, node, python};

#[test]
fn clients_are_installed() {
    let programs = [
        python::clients(),
        libraries::python_packages(),
        described::python_packages(),
        mcp::python_packages(),
        libraries::node_packages(),
        agents::node_packages(),
        node::programs(),
        #[cfg(target_os = "linux")]
        foreign::mlx(),
    ];
    for program in programs {
        assert!(program.exists(), "{} is there", program.display());
    }
}
