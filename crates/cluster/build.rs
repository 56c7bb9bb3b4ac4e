//! Generates the Rust code of the protocol between the processes of a cluster.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tonic_prost_build::configure().build_transport(false).compile_protos(&["proto/internal.proto"], &["proto"])?;
    Ok(())
}
