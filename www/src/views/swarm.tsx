/** Swarm: who is in it, what each tells about itself, and who is waited for. */

import { computed, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { clock, count, line, span, tierName } from "../format.js";
import { Dim, Fact, Facts, Filter, Lamp, Panel } from "../pieces.js";
import { documents, session } from "../session.js";
import { VirtualRows, type Column } from "../virtual-rows.js";

interface AgentRow {
  name: string;
  tiers: number[];
  state: string;
  incarnation: number;
  role: string;
  present: boolean;
  /** When it was last heard of here. */
  heard: number | undefined;
  /** Who waits for it, and why. */
  why: string[];
}

const wanted = signal("");

const rows = computed<AgentRow[]>(() => {
  const now = session.value;
  if (!now) return [];
  const document = now.current.value;
  const present = new Set([...now.presence.value, ...(document?.presence.value ?? [])].map(({ agent }) => agent));
  const seats = new Map<string, Set<number>>();
  const whys = new Map<string, string[]>();
  for (const { kind, barrier, settled } of document?.objects.value ?? []) {
    for (const { tier, members, blockers } of barrier.tiers) {
      // Elsewhere seats say who proposes first, or nothing.
      if (kind === "barrier") for (const agent of members) seats.set(agent, (seats.get(agent) ?? new Set()).add(tier));
      if (settled) continue;
      for (const blocker of blockers) {
        for (const [agent, reason] of blamed(blocker)) {
          whys.set(agent, [...(whys.get(agent) ?? []), `${barrier.name}: ${reason}`]);
        }
      }
    }
  }
  const states = now.states.value;
  // The present life of each: the last to join.
  const last = new Map<string, AgentRow>();
  for (const { replica, member } of now.members.value) {
    const before = last.get(member.agent);
    if (before && before.incarnation > member.incarnation) continue;
    last.set(member.agent, {
      name: member.agent,
      tiers: [...(seats.get(member.agent) ?? [])].sort(),
      state: Object.entries(states[member.agent] ?? {}).map(([key, value]) => `${key} ${line(value)}`).join(" · "),
      incarnation: member.incarnation,
      role: member.role,
      present: present.has(member.agent),
      heard: now.heard.get(String(replica)),
      why: whys.get(member.agent) ?? [],
    });
  }
  const text = wanted.value.toLowerCase();
  return [...last.values()].filter(({ name, state }) => `${name} ${state}`.toLowerCase().includes(text)).sort((a, b) => byName(a.name, b.name));
});

const byName = new Intl.Collator("en", { numeric: true }).compare;

/** Agents a blocker names, and what of. */
function blamed(blocker: { blocker: string; [field: string]: unknown }): [string, string][] {
  const from = Array.isArray(blocker["from"]) ? (blocker["from"] as string[]) : [];
  const agent = typeof blocker["agent"] === "string" ? blocker["agent"] : undefined;
  switch (blocker.blocker) {
    case "not_arrived":
      return agent ? [[agent, "has not arrived"]] : [];
    case "not_acknowledged":
      return agent ? [[agent, "has not acknowledged"]] : [];
    case "link_down":
      return agent ? [[agent, `link down: ${String(blocker["reason"])}`]] : [];
    case "stale_incarnation":
      return agent ? [[agent, "came back as a new incarnation: its seat stays empty"]] : [];
    case "echoes_missing":
      return from.map((one) => [one, "its echo is missing"]);
    case "promises_missing":
      return from.map((one) => [one, "its promise is missing"]);
    case "accepts_missing":
      return from.map((one) => [one, "its accept is missing"]);
    default:
      return [];
  }
}

const columns: Column<AgentRow>[] = [
  { title: "Agent", width: "minmax(12ch, 1.2fr)", cell: ({ name }) => <b>{name}</b>, order: (a, b) => byName(a.name, b.name) },
  { title: "Tier", width: "11ch", cell: ({ tiers }) => tiers.map(tierName).join(", ") || <Dim>no seat</Dim>, order: (a, b) => (a.tiers[0] ?? 99) - (b.tiers[0] ?? 99) },
  { title: "State", width: "minmax(16ch, 2fr)", cell: ({ state }) => (state ? <span title={state}>{state}</span> : <Dim>tells nothing</Dim>) },
  // Lives are numbered by the time they begin.
  { title: "Life since", width: "10ch", isNumber: true, cell: ({ incarnation }) => <span title={`incarnation ${incarnation}`}>{clock(incarnation)}</span>, order: (a, b) => a.incarnation - b.incarnation },
  { title: "Link", width: "11ch", cell: ({ present }) => (present ? <Lamp tone="good">present</Lamp> : <Dim>no presence</Dim>), order: (a, b) => Number(b.present) - Number(a.present) },
  { title: "Last heard", width: "10ch", isNumber: true, cell: ({ heard }) => <Ago at={heard} />, order: (a, b) => (b.heard ?? 0) - (a.heard ?? 0) },
  {
    title: "Waited for",
    width: "minmax(18ch, 2.4fr)",
    cell: ({ why }) => (why.length === 0 ? <Dim>–</Dim> : <span class="warn-text" title={why.join("\n")}>{why[0]}{why.length > 1 ? ` (+${why.length - 1})` : ""}</span>),
    order: (a, b) => b.why.length - a.why.length,
  },
];

function Ago({ at }: { at: number | undefined }): JSX.Element {
  if (at === undefined) return <Dim>–</Dim>;
  return <span>{span(Math.max(0, Date.now() - at))}</span>;
}

export function SwarmView(): JSX.Element {
  const now = session.value;
  // Spans grow without anybody's doing.
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((value) => value + 1), 1_000);
    return () => clearInterval(timer);
  }, []);
  const status = now?.status.value;
  const all = rows.value;
  const members = new Set(now?.members.value.map(({ member }) => member.agent)).size;
  const stalled = documents().filter(({ live }) => live && (live.behind > 0 || live.stalled));
  return (
    <>
      <Facts>
        <Fact name="agents" value={count(members)} />
        <Fact name="shown present" value={count(all.filter(({ present }) => present).length)} />
        <Fact name="waited for" value={count(all.filter(({ why }) => why.length > 0).length)} tone={all.some(({ why }) => why.length > 0) ? "warn" : undefined} />
        <Fact name="documents" value={count(documents().length)} />
        <Fact name="unsynced, this tab" value={count(status?.unsynced ?? 0)} tone={status?.unsynced ? "warn" : undefined} note={status?.stalled ?? undefined} />
      </Facts>
      <Panel title="Agents" aside={<Filter of={wanted} label="Filter agents" />} fills>
        <VirtualRows
          label="Agents of the swarm"
          rows={all}
          columns={columns}
          keyOf={({ name }) => name}
          toneOf={({ why }) => (why.length > 0 ? "warn" : undefined)}
          empty={wanted.value ? "No agent goes by that." : "Nobody has joined this swarm yet."}
        />
      </Panel>
      {stalled.length > 0 && (
        <Panel title="Documents with somebody behind, at the relay">
          <ul class="sentences">
            {stalled.map(({ document, live }) => (
              <li key={document}>
                <b>{document}</b>: {live?.behind ? `${live.behind} of ${live.links} connections wait to drain` : ""} {live?.stalled ?? ""}
              </li>
            ))}
          </ul>
        </Panel>
      )}
    </>
  );
}
