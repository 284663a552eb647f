/** Network: connections, bytes, what the relay does with them, and what went wrong. */

import type { JSX } from "preact";
import { Chart } from "../chart.js";
import { feed, type Trouble } from "../feed.js";
import { bytes, clock, count, span } from "../format.js";
import { histogram, latestOf, rates, samples, type Bucket } from "../metrics.js";
import { Dim, Fact, Facts, Lamp, Panel } from "../pieces.js";
import type { Listed } from "../rest.js";
import { health, listed, roundTrips, session } from "../session.js";
import { VirtualRows, type Column } from "../virtual-rows.js";

const perSecond = (value: number): string => `${bytes(value)}/s`;
const each = (value: number): string => `${count(value)}/s`;

const LANES = [
  { lane: "critical", ink: "bad" },
  { lane: "high", ink: "accent" },
  { lane: "normal", ink: "second", isDashed: true },
  { lane: "low", ink: "soft", isDashed: true },
];

export function NetworkView(): JSX.Element {
  const all = samples.value;
  const times = all.map(({ at }) => at);
  const rate = (name: string): (number | null)[] => rates(all, name);
  const level = (name: string): (number | null)[] => all.map(({ values }) => values.get(name) ?? null);
  const trips = [...roundTrips.value].sort((a, b) => a - b);
  const relay = health.value;
  const status = session.value?.status.value;
  const last = all.at(-1)?.values;
  return (
    <>
      <Facts>
        <Fact name="relay" value={relay?.relay ?? "away"} tone={relay?.status === "ok" ? undefined : "bad"} note={relay?.reason ?? undefined} />
        <Fact name="up for" value={relay ? span(relay.uptime_seconds * 1000) : "–"} />
        <Fact name="connections" value={count(relay?.connections ?? 0)} />
        <Fact name="round trip, p50" value={trips.length ? span(trips[Math.floor(trips.length / 2)] ?? 0) : "–"} />
        <Fact name="this tab, in" value={bytes(status?.bytes_in ?? 0)} />
        <Fact name="this tab, out" value={bytes(status?.bytes_out ?? 0)} />
        <Fact name="conflations" value={count(latestOf("aepoch_conflations_total") ?? 0)} />
        <Fact name="refused" value={count(latestOf("aepoch_refused_total") ?? 0)} tone={latestOf("aepoch_refused_total") ? "warn" : undefined} />
      </Facts>
      <div class="charts">
        <Chart title="Bytes at the relay" times={times} read={perSecond} lines={[{ label: "received", ink: "accent", values: rate("aepoch_received_bytes_total") }, { label: "sent", ink: "second", isDashed: true, values: rate("aepoch_sent_bytes_total") }]} />
        <Chart title="By lane, before compression" times={times} read={perSecond} lines={LANES.map(({ lane, ...line }) => ({ label: lane, ...line, values: rate(`aepoch_lane_bytes_total{lane="${lane}"}`) }))} />
        <Chart title="Deltas" times={times} read={each} lines={[{ label: "received", ink: "accent", values: rate("aepoch_deltas_received_total") }, { label: "sent", ink: "second", isDashed: true, values: rate("aepoch_deltas_sent_total") }]} />
        <Chart title="Store" times={times} read={each} lines={[{ label: "appends", ink: "accent", values: rate("aepoch_appends_total") }, { label: "acks", ink: "second", isDashed: true, values: rate("aepoch_acks_total") }]} />
        <Chart title="Slow readers" times={times} read={count} lines={[{ label: "behind now", ink: "warn", values: level("aepoch_links_behind") }, { label: "conflations per s", ink: "second", isDashed: true, values: rate("aepoch_conflations_total") }]} />
        <Chart title="Waiting for the store" times={times} read={bytes} lines={[{ label: "queued", ink: "accent", values: level("aepoch_store_queued_bytes") }]} />
        <Histogram title="Barriers and kin, first arrival to end" buckets={last ? histogram(last, "aepoch_coordination_duration_seconds") : []} />
      </div>
      <Panel title="This tab's connections">
        <ul class="sentences">
          {status?.relays.map(({ address, state, failures, reason }) => (
            <li key={address}>
              <Lamp tone={state === "up" ? "good" : state === "paused" ? "quiet" : "warn"}>{state}</Lamp> <code>{address}</code>
              {failures > 0 && ` after ${failures} failed dials`} {reason && state !== "up" && <span class="dim">{reason}</span>}
            </li>
          ))}
          {status && status.peers.length > 0 && <li>at the other end: {status.peers.join(", ")}</li>}
        </ul>
      </Panel>
      <Panel title="Documents at the relay">
        <VirtualRows label="Documents at the relay" rows={listed.value} columns={documentColumns} keyOf={({ document }) => document} toneOf={({ live }) => (live?.stalled || live?.behind ? "warn" : undefined)} empty="None yet." height={300} />
      </Panel>
      <Panel title="Errors">
        <VirtualRows label="Errors, newest first" rows={feed.value} columns={feedColumns} keyOf={({ number }) => String(number)} empty="Nothing has gone wrong." height={260} />
      </Panel>
    </>
  );
}

const documentColumns: Column<Listed>[] = [
  { title: "Document", width: "minmax(16ch, 1.6fr)", cell: ({ document }) => <b>{document}</b>, order: (a, b) => a.document.localeCompare(b.document) },
  { title: "Engine", width: "11ch", cell: ({ live }) => live?.engine ?? <Dim>at rest</Dim> },
  { title: "Links", width: "7ch", isNumber: true, cell: ({ live }) => live?.links ?? 0, order: (a, b) => (b.live?.links ?? 0) - (a.live?.links ?? 0) },
  { title: "Behind", width: "8ch", isNumber: true, cell: ({ live }) => live?.behind ?? 0, order: (a, b) => (b.live?.behind ?? 0) - (a.live?.behind ?? 0) },
  { title: "Size", width: "10ch", isNumber: true, cell: ({ live }) => (live ? bytes(live.weight) : "–"), order: (a, b) => (b.live?.weight ?? 0) - (a.live?.weight ?? 0) },
  { title: "Log", width: "9ch", isNumber: true, cell: ({ stored }) => (stored ? count(stored.entries) : "–") },
  { title: "Presence", width: "9ch", isNumber: true, cell: ({ live }) => live?.presence ?? 0 },
  { title: "Unsynced", width: "10ch", isNumber: true, cell: ({ live }) => live?.unsynced ?? 0 },
  { title: "Held up by", width: "minmax(14ch, 2fr)", cell: ({ live }) => live?.stalled ?? <Dim>–</Dim> },
];

const feedColumns: Column<Trouble>[] = [
  { title: "At", width: "10ch", cell: ({ at }) => clock(at) },
  { title: "From", width: "12ch", cell: ({ source }) => source },
  { title: "What", width: "1fr", cell: ({ text }) => <span title={text}>{text}</span> },
];

function Histogram({ title, buckets }: { title: string; buckets: readonly Bucket[] }): JSX.Element {
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count));
  const total = buckets.reduce((sum, bucket) => sum + bucket.count, 0);
  const label = ({ upTo }: Bucket): string => (Number.isFinite(upTo) && upTo < 1e300 ? span(upTo * 1000).replace(".0", "").replace(" ", "") : "more");
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <span class="keys"><b>{count(total)}</b> ended</span>
      </figcaption>
      {total === 0 ? (
        <p class="nothing">None has ended yet.</p>
      ) : (
        <ol class="bars">
          {buckets.map((bucket) => (
            <li key={bucket.upTo} title={`at most ${label(bucket)}: ${bucket.count}`}>
              <span class="bar" style={{ height: `${(bucket.count / most) * 92}px` }} />
              <small>{label(bucket)}</small>
              <span class="unseen">{bucket.count}</span>
            </li>
          ))}
        </ol>
      )}
    </figure>
  );
}
