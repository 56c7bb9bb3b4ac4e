//! Generates the protocol's Rust code, server and client, and its descriptor set from `proto/`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .codec_path("crate::codec::Codec")
        // The RPC Connect would clash with the shorthand of that name; clients are made from a channel.
        .build_transport(false)
        // Byte fields are slices of the received message instead of copies.
        .bytes(".")
        // The largest field of most requests has a decoder of its own.
        .extern_path(".milvus.proto.schema.FloatArray", "crate::float_array::FloatArray")
        .file_descriptor_set_path(out_dir.join("descriptors.bin"))
        .compile_protos(
            &["proto/common.proto", "proto/schema.proto", "proto/msg.proto", "proto/milvus.proto"],
            &["proto"],
        )?;
    Ok(())
}
