//! Every sample as a line of CSV: one figure a line, so that any tool can pivot it.

use std::fmt::Write as _;

use crate::lab::result::Lab;

/// All samples.
pub fn samples(lab: &Lab) -> String {
    let mut text = String::from("scenario,subject,variant,round,metric,value\n");
    for scenario in &lab.scenarios {
        for sample in &scenario.samples {
            let key = format!(
                "{},{},{},{}",
                scenario.id,
                sample.subject.id(),
                quote(&sample.variant),
                sample.round
            );
            for (metric, value) in &sample.metrics {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{key},{metric},{value}");
            }
            for (percentile, us) in &sample.curve {
                let _ = writeln!(text, "{key},latency_p{percentile}_us,{us}");
            }
            for (cause, count) in &sample.errors {
                let _ = writeln!(text, "{key},error_{},{count}", quote(cause));
            }
        }
    }
    text
}

fn quote(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
