/** A slider over the changes of a document. */

import type { JSX } from "preact";
import { count } from "../format.js";
import type { History } from "../history.js";
import { Panel } from "../pieces.js";
import { writerName } from "../session.js";

export function HistoryPanel({ history }: { history: History }): JSX.Element {
  const [changes, wanted, past] = [history.changes.value, history.wanted.value, history.past.value];
  const at = wanted ?? changes;
  const told = (): string => {
    if (wanted === undefined) return `now, after ${count(changes)} ${changes === 1 ? "change" : "changes"}`;
    if (past?.after !== wanted) return `change ${count(wanted)} …`;
    const { change } = past;
    if (!change) return "before the first change";
    const by = change.writer === null ? "made a container" : `by ${writerName(change.writer)}, ${count(change.ops)} ${change.ops === 1 ? "operation" : "operations"}`;
    return `change ${count(wanted)} of ${count(changes)}, ${by}`;
  };
  return (
    <Panel title="History" aside={<div class="tools"><button disabled={wanted === undefined} onClick={() => history.go(undefined)}>Now</button></div>}>
      <label class="history">
        <input
          type="range"
          min={0}
          max={changes}
          value={at}
          aria-label="Change"
          aria-valuetext={told()}
          onInput={({ currentTarget: { value } }) => history.go(Number(value) === changes ? undefined : Number(value))}
        />
        <output>{told()}</output>
      </label>
    </Panel>
  );
}
