//! Compiles the proto files to Rust. `protox` is a protobuf compiler written in Rust, so that no `protoc` is
//! needed.

use std::path::PathBuf;

const PROTOS: [&str; 3] = [
    "hookbox/v1/webhook_service.proto",
    "hookbox/v1/operation_service.proto",
    "hookbox/v1/work_service.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo passes OUT_DIR in the environment")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");

    let contract = protox::compile(PROTOS, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("hookbox_descriptor.bin"), prost::Message::encode_to_vec(&contract))?;
    tonic_prost_build::configure().compile_fds(contract)?;
    Ok(())
}
