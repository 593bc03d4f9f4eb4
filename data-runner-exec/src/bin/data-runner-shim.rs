//! The shim as a program of its own, for programs that embed an agent and do not carry the mode themselves.

fn main() {
    std::process::exit(data_runner_exec::shim::main());
}
