//! Measuring calls: what the server's process spends on them, and how long they take.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::sample::{Samples, us};
use crate::usage::Usage;

/// What one stretch of work cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// The server's CPU time.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

/// Measures from its start to [`Watch::stop`].
#[derive(Debug)]
pub struct Watch {
    usage: Usage,
    cpu: Duration,
    wall: Instant,
}

impl Watch {
    /// Starts.
    pub fn start(usage: Usage) -> Result<Self> {
        Ok(Self { usage, cpu: usage.cpu()?, wall: Instant::now() })
    }

    /// What was used since.
    pub fn stop(self) -> Result<Cost> {
        let wall = self.wall.elapsed();
        Ok(Cost { cpu: self.usage.cpu()?.saturating_sub(self.cpu), wall })
    }
}

/// Microseconds a call of one kind, one sample a block of calls.
#[derive(Debug, Clone, Default)]
pub struct CallSamples {
    /// The server's CPU time.
    pub cpu: Samples,
    /// Time on the wall, as the client sees it.
    pub wall: Samples,
}

impl CallSamples {
    /// Calls `call` with 0, 1, ... `calls - 1` and adds what one cost.
    pub async fn block(
        &mut self,
        usage: Usage,
        calls: usize,
        mut call: impl AsyncFnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let watch = Watch::start(usage)?;
        for number in 0..calls {
            call(number).await?;
        }
        let cost = watch.stop()?;
        self.cpu.push(us(cost.cpu) / calls as f64);
        self.wall.push(us(cost.wall) / calls as f64);
        Ok(())
    }
}
