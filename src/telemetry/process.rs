//! The metrics of the process itself. Their names are the same for programs in all languages
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>), so they have no prefix.
//!
//! They are read from `/proc` when a client asks for metrics. What cannot be read is left out.

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads the metrics of this process.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    /// When the process started, in seconds since the Unix epoch. Read only once: the kernel computes it from the
    /// time of day, so it changes when that is set.
    start_seconds: Option<f64>,
}

impl Default for ProcessCollector {
    fn default() -> Self {
        Self { start_seconds: start_seconds().ok() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        if let Some(start) = self.start_seconds {
            let help = "When the process started, in seconds since the Unix epoch.";
            write(&mut encoder, "process_start_time", help, Some(&Unit::Seconds), &ConstGauge::new(start))?;
        }
        let Ok(process) = Process::myself() else { return Ok(()) };
        if let Ok(stat) = process.stat() {
            let cpu = ConstCounter::new(seconds(stat.utime + stat.stime));
            let help = "Time that the process has spent on processors, in its own code and in the kernel.";
            write(&mut encoder, "process_cpu", help, Some(&Unit::Seconds), &cpu)?;
            let memory = ConstGauge::new(stat.rss * page_size());
            let help = "Memory of the process that is in RAM.";
            write(&mut encoder, "process_resident_memory", help, Some(&Unit::Bytes), &memory)?;
            let threads = ConstGauge::new(stat.num_threads);
            write(&mut encoder, "process_threads", "Threads of the process.", None, &threads)?;
        }
        if let Ok(files) = process.fd_count() {
            let files = ConstGauge::new(files);
            write(&mut encoder, "process_open_fds", "Open file descriptors.", None, &files)?;
        }
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            let help = "The most file descriptors that may be open.";
            write(&mut encoder, "process_max_fds", help, None, &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}

/// When this process started, in seconds since the Unix epoch.
fn start_seconds() -> ProcResult<f64> {
    let since_boot = Process::myself()?.stat()?.starttime;
    Ok(boot_time_secs()? as f64 + seconds(since_boot))
}

/// Converts ticks of the kernel's clock into seconds.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / ticks_per_second() as f64
}
