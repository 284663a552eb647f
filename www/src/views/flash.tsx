/** Flash: what agents meet at, live, and why what stands still does. */

import type { ItemView, ObjectStatus } from "aepoch";
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { attempt } from "../feed.js";
import { clock, count, span, tierName } from "../format.js";
import { Lanes } from "../lanes.js";
import type { OpenDocument, QueueSeen } from "../open-document.js";
import { Dim, Fact, Facts, Lamp, Panel } from "../pieces.js";
import { session } from "../session.js";
import { VirtualRows, type Column } from "../virtual-rows.js";

const WINDOWS = [30, 60, 300, 1800];
const seconds = signal(60);

export function FlashView(): JSX.Element {
  const document = session.value?.current.value;
  if (!document) return <p class="nothing">No document is open.</p>;
  const objects = document.objects.value;
  const stalled = objects.filter((one) => !one.settled && one.why.length > 0);
  const lanes = document.timeline.lanes.value;
  const met = objects.filter(({ kind }) => kind !== "queue");
  const gone = document.gone.value.filter(({ kind }) => kind !== "queue");
  return (
    <>
      <Facts>
        <Fact name="objects" value={count(objects.length)} />
        <Fact name="open" value={count(met.filter((one) => !one.settled && one.barrier.tiers.some(({ outcome }) => outcome === null)).length)} />
        <Fact name="held up" value={count(stalled.length)} tone={stalled.length > 0 ? "warn" : undefined} />
        <Fact name="in queues" value={count(document.queues.value.reduce((sum, { status }) => sum + status.open + status.held, 0))} />
        <Fact name="late arrivals" value={count(lanes.reduce((sum, { marks }) => sum + marks.filter(({ kind }) => kind === "late").length, 0))} />
      </Facts>
      <Panel title="Lanes" aside={<LaneKey />}>
        {lanes.length === 0 ? <p class="nothing">No barrier, epoch, poll, decision or queue in {document.name} yet.</p> : <Lanes lanes={lanes} windowMs={seconds.value * 1000} />}
      </Panel>
      {stalled.length > 0 && (
        <Panel title="Why it waits">
          <ul class="sentences" aria-live="polite">
            {stalled.map((one) => (
              <li key={one.object}>
                <b>{one.barrier.name}</b> <span class="kind">{one.kind}</span> {one.why.join("; ")}.
              </li>
            ))}
          </ul>
        </Panel>
      )}
      <Panel title="How each stands">
        <VirtualRows label="Barriers, epochs, polls and decisions" rows={[...met, ...gone]} columns={objectColumns} keyOf={({ object }) => object} toneOf={toneOf} empty="None yet." height={330} />
      </Panel>
      {document.queues.value.map((queue) => (
        <QueuePanel key={queue.name} queue={queue} document={document} />
      ))}
    </>
  );
}

function LaneKey(): JSX.Element {
  return (
    <div class="lane-key">
      <span><i class="mark tick" />arrival</span>
      <span><i class="mark diamond good" />complete</span>
      <span><i class="mark diamond warn" />degraded</span>
      <span><i class="mark diamond bad" />shortfall</span>
      <span title="It was decided before this tab looked"><i class="mark diamond hollow" />before</span>
      <span title="A generation that ended between two looks"><i class="mark diamond" />over</span>
      <span><i class="mark ring" />late</span>
      <label>
        last{" "}
        <select value={seconds.value} onChange={(event) => (seconds.value = Number(event.currentTarget.value))}>
          {WINDOWS.map((one) => (
            <option key={one} value={one}>{span(one * 1000).replace(".0", "")}</option>
          ))}
        </select>
      </label>
    </div>
  );
}

function toneOf({ barrier, settled, why }: ObjectStatus): "warn" | "bad" | undefined {
  if (barrier.tiers.some(({ outcome }) => outcome === "broken" || outcome === "shortfall")) return "bad";
  return !settled && why.length > 0 ? "warn" : undefined;
}

function state(one: ObjectStatus): JSX.Element {
  if (one.poll) return <Lamp tone={one.poll === "approved" ? "good" : one.poll === "failed" ? "bad" : "quiet"}>{one.poll}{one.approved ? `: ${one.approved}` : ""}</Lamp>;
  if (one.kind === "decision") return <Lamp tone={one.settled ? "good" : "quiet"}>{one.settled ? "decided" : "open"}</Lamp>;
  const outcomes = one.barrier.tiers.map(({ outcome }) => outcome);
  if (outcomes.every((outcome) => outcome === "complete")) return <Lamp tone="good">complete</Lamp>;
  const worst = ["broken", "shortfall", "degraded"].find((ending) => outcomes.some((outcome) => outcome === ending));
  if (worst) return <Lamp tone={worst === "degraded" ? "warn" : "bad"}>{worst}</Lamp>;
  return <Lamp tone={one.why.length > 0 ? "warn" : "quiet"}>{outcomes.some((outcome) => outcome !== null) ? "partly released" : "waiting"}</Lamp>;
}

const objectColumns: Column<ObjectStatus>[] = [
  { title: "Name", width: "minmax(12ch, 1fr)", cell: ({ barrier }) => <b>{barrier.name}</b>, order: (a, b) => a.barrier.name.localeCompare(b.barrier.name) },
  { title: "Kind", width: "10ch", cell: ({ kind, phase }) => (phase ? <span title={`phase ${phase}`}>{kind}</span> : kind), order: (a, b) => a.kind.localeCompare(b.kind) },
  { title: "Phase", width: "11ch", cell: ({ phase }) => phase ?? <Dim>–</Dim> },
  { title: "Gen.", width: "6ch", isNumber: true, cell: ({ barrier }) => barrier.generation, order: (a, b) => a.barrier.generation - b.barrier.generation },
  { title: "State", width: "minmax(14ch, 1fr)", cell: state },
  {
    title: "Arrived",
    width: "minmax(22ch, 1.4fr)",
    cell: ({ barrier }) => barrier.tiers.map(({ tier, arrived, members, declined }) => `${tierName(tier)} ${arrived.length}/${members.length}${declined.length ? ` (${declined.length} declined)` : ""}`).join(" · "),
  },
  { title: "Age", width: "8ch", isNumber: true, cell: ({ age_ms }) => span(age_ms), order: (a, b) => a.age_ms - b.age_ms },
  { title: "Why", width: "minmax(20ch, 3fr)", cell: ({ why, settled }) => (why.length === 0 || settled ? <Dim>–</Dim> : <span title={why.join("\n")}>{why.join("; ")}</span>) },
];

function QueuePanel({ queue, document }: { queue: QueueSeen; document: OpenDocument }): JSX.Element {
  const { status, items, name } = queue;
  const handle = document.queue(name);
  const columns: Column<ItemView>[] = [
    { title: "Item", width: "minmax(14ch, 1.2fr)", cell: ({ item }) => <code>{item}</code> },
    { title: "Tier", width: "8ch", cell: ({ tier }) => tierName(tier), order: (a, b) => a.tier - b.tier },
    { title: "State", width: "10ch", cell: itemState, order: (a, b) => a.occupation.occupation.localeCompare(b.occupation.occupation) },
    { title: "Holder", width: "minmax(10ch, 1fr)", cell: ({ occupation }) => ("holder" in occupation ? occupation.holder : <Dim>–</Dim>) },
    { title: "Token", width: "7ch", isNumber: true, cell: ({ occupation }) => ("token" in occupation ? occupation.token : <Dim>–</Dim>) },
    { title: "Deadline", width: "10ch", isNumber: true, cell: ({ deadline_ms }) => (deadline_ms === null ? <Dim>none</Dim> : <span class={deadline_ms < Date.now() ? "warn-text" : ""}>{clock(deadline_ms)}</span>) },
    { title: "Tries", width: "6ch", isNumber: true, cell: ({ attempts }) => attempts, order: (a, b) => a.attempts - b.attempts },
    { title: "Pushed by", width: "minmax(10ch, 1fr)", cell: ({ pusher }) => pusher ?? <Dim>unknown</Dim> },
    { title: "Failure", width: "minmax(12ch, 1.4fr)", cell: ({ failure }) => failure ?? <Dim>–</Dim> },
    {
      title: "Do",
      width: "18ch",
      cell: ({ item, occupation }) =>
        occupation.occupation === "dead" && handle ? (
          <span class="does">
            <button onClick={() => attempt("queue", () => handle.requeue(item))}>Requeue</button>
            <button onClick={() => attempt("queue", () => handle.discard(item))}>Discard</button>
          </span>
        ) : null,
    },
  ];
  return (
    <Panel
      title={`Queue ${name}`}
      aside={
        <span class="counts">
          <b>{count(status.open)}</b> open <b>{count(status.held)}</b> held <b class={status.dead ? "bad-text" : ""}>{count(status.dead)}</b> dead
          {status.unsealed_by.length > 0 && <span class="dim"> not sealed by {status.unsealed_by.join(", ")}</span>}
        </span>
      }
    >
      <VirtualRows label={`Items of ${name}`} rows={items} columns={columns} keyOf={({ item }) => item} toneOf={({ occupation }) => (occupation.occupation === "dead" ? "bad" : occupation.occupation === "expired" ? "warn" : undefined)} empty="Nothing is queued." height={330} />
    </Panel>
  );
}

function itemState({ occupation }: ItemView): JSX.Element {
  const tones = { open: "quiet", held: "good", expired: "warn", dead: "bad" } as const;
  return <Lamp tone={tones[occupation.occupation]}>{occupation.occupation}</Lamp>;
}
