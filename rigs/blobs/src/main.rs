//! A file given and taken by iroh-blobs, between two processes with file stores, for timing beside
//! ours.
//!
//! `bench-blobs give FILE STORE` prints `ID ADDRESS HASH` and serves until its input ends;
//! `bench-blobs take ID ADDRESS HASH STORE` prints the seconds from the call to the verified blob.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail};
use iroh::endpoint::presets;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{BlobsProtocol, Hash};

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let endpoint = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .bind()
        .await?;
    match words.as_slice() {
        ["give", file, store] => {
            let store = FsStore::load(store).await?;
            let tag = store.blobs().add_path(std::path::absolute(file)?).await?;
            let address = *endpoint.bound_sockets().first().context("no socket")?;
            println!("{} {address} {}", endpoint.id(), tag.hash);
            let router =
                Router::builder(endpoint).accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None)).spawn();
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
            router.shutdown().await?;
        }
        ["take", id, address, hash, store] => {
            let store = FsStore::load(store).await?;
            let (id, address): (EndpointId, SocketAddr) = (id.parse()?, address.parse()?);
            let hash: Hash = hash.parse()?;
            let began = Instant::now();
            let connection = endpoint.connect(EndpointAddr::new(id).with_ip_addr(address), iroh_blobs::ALPN).await?;
            store.remote().fetch(connection, hash).await?;
            println!("{}", began.elapsed().as_secs_f64());
            endpoint.close().await;
            store.shutdown().await?;
        }
        _ => bail!("usage: bench-blobs give FILE STORE | take ID ADDRESS HASH STORE"),
    }
    Ok(())
}
