//! Generates the Rust code of the protocol between the processes of a cluster.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let generated = tonic_prost_build::configure().build_transport(false).bytes(".");
    generated.compile_protos(&["proto/internal.proto"], &["proto"])?;
    Ok(())
}
