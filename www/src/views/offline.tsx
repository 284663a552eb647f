/** Offline: cut this tab off, write, come back, and see what was sent. */

import type { JSX } from "preact";
import { absences, comeBack, leave, written, type Absence } from "../absence.js";
import { attempt } from "../feed.js";
import { bytes, clock, count, span } from "../format.js";
import { pathOf, type Seen } from "../open-document.js";
import { Dim, Fact, Facts, Lamp, Panel } from "../pieces.js";
import { session } from "../session.js";
import { VirtualRows, type Column } from "../virtual-rows.js";
import { told } from "./document.js";
import { AddForm } from "./add-form.js";

/** The switch, here and in the header. */
export function OnlineSwitch(): JSX.Element | null {
  const now = session.value;
  if (!now) return null;
  const isOnline = now.isOnline.value;
  return (
    <button role="switch" aria-checked={isOnline} class="switch" onClick={() => attempt("offline", () => (isOnline ? leave(now) : comeBack(now)))}>
      <i aria-hidden="true" />
      <span class="unseen">This tab is </span>
      {isOnline ? "online" : "offline"}
    </button>
  );
}

export function OfflineView(): JSX.Element {
  const now = session.value;
  const document = now?.current.value;
  if (!now || !document) return <p class="nothing">No document is open.</p>;
  const [status, isOnline, newest] = [now.status.value, now.isOnline.value, absences.value[0]];
  const away = newest && newest.until === undefined ? newest : undefined;
  const changes = away ? written(now, away) : (newest?.written ?? []);
  return (
    <>
      <Facts>
        <Fact name="this tab" value={isOnline ? (status?.online ? "online" : "connecting") : "cut off"} tone={isOnline ? (status?.online ? "good" : "warn") : "warn"} />
        <Fact name="unsynced" value={count(status?.unsynced ?? 0)} tone={status?.unsynced ? "warn" : undefined} note={status?.stalled ?? undefined} />
        <Fact name="last acknowledged" value={status?.last_ack_ms ? clock(status.last_ack_ms) : "–"} />
        <Fact name="sent" value={bytes(status?.bytes_out ?? 0)} />
        <Fact name="received" value={bytes(status?.bytes_in ?? 0)} />
      </Facts>
      <Panel title="Cut this tab off" aside={<OnlineSwitch />}>
        <p class="prose">
          {isOnline
            ? "Off the network this tab goes on working on its own replica. What is written here meanwhile goes out when it comes back, as one delta for each document."
            : "This tab hears nothing and is heard by nobody. Write something, here or in the Document view, then come back."}
        </p>
        <AddForm document={document} />
      </Panel>
      <Panel title={away ? "Written since it left" : "Written the last time"}>
        <VirtualRows label="Changes written offline" rows={changes} columns={changeColumns} keyOf={({ number }) => String(number)} empty={away ? "Nothing yet." : "This tab has not been away, or wrote nothing."} height={250} />
      </Panel>
      <Panel title="Absences">
        <VirtualRows label="Absences of this tab" rows={absences.value} columns={absenceColumns} keyOf={({ number }) => String(number)} empty="None yet." height={250} />
      </Panel>
    </>
  );
}

const changeColumns: Column<Seen>[] = [
  { title: "At", width: "10ch", cell: ({ at }) => clock(at) },
  { title: "What", width: "minmax(14ch, 1fr)", cell: ({ patch: { path } }) => <span>{pathOf(path.section, path.name, path.within)}</span> },
  { title: "Change", width: "minmax(14ch, 2fr)", cell: ({ patch: { change } }) => <span>{told(change)}</span> },
];

const absenceColumns: Column<Absence>[] = [
  { title: "From", width: "10ch", cell: ({ from }) => clock(from) },
  { title: "Until", width: "10ch", cell: ({ until }) => (until ? clock(until) : <Dim>still away</Dim>) },
  { title: "Changes", width: "9ch", isNumber: true, cell: ({ written: changes, until }) => (until ? changes.length : <Dim>–</Dim>) },
  { title: "Commits", width: "9ch", isNumber: true, cell: ({ unsynced, until }) => (until ? unsynced : <Dim>–</Dim>) },
  { title: "Sent", width: "10ch", isNumber: true, cell: ({ back }) => (back ? bytes(back.sent) : <Dim>–</Dim>) },
  { title: "Received", width: "10ch", isNumber: true, cell: ({ back }) => (back ? bytes(back.received) : <Dim>–</Dim>) },
  { title: "Took", width: "10ch", isNumber: true, cell: ({ back }) => (back ? span(back.ms) : <Dim>–</Dim>) },
  { title: "How it stands", width: "minmax(14ch, 1fr)", cell: ({ until, back }) => (!until ? <Lamp tone="warn">away</Lamp> : back ? <Lamp tone="good">all of it is durable at the relay</Lamp> : <Lamp tone="quiet">coming back</Lamp>) },
];
