/** What is around every view: where it looks, how it stands, where else to go. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { CredentialForm } from "./credential-form.js";
import { latest } from "./feed.js";
import { Lamp } from "./pieces.js";
import { go, view, VIEWS, type View } from "./route.js";
import { askedFor, chooseDocument, documents, health, session, swarm, swarms } from "./session.js";
import { choice, choose, type Choice } from "./theme.js";
import { DocumentView } from "./views/document.js";
import { FlashView } from "./views/flash.js";
import { NetworkView } from "./views/network.js";
import { OfflineView, OnlineSwitch } from "./views/offline.js";
import { SwarmView } from "./views/swarm.js";

const TITLES: Record<View, string> = { swarm: "Swarm", flash: "Flash", document: "Document", network: "Network", offline: "Offline" };
const SHOWN: Record<View, () => JSX.Element> = { swarm: SwarmView, flash: FlashView, document: DocumentView, network: NetworkView, offline: OfflineView };
const TROUBLE_MS = 8_000;

export function Shell(): JSX.Element {
  const now = view.value;
  useEffect(() => {
    document.title = `${TITLES[now]} – aepoch`;
  }, [now]);
  useEffect(() => {
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const Shown = SHOWN[now];
  return (
    <>
      <header class="top">
        <h1>
          <svg viewBox="0 0 32 32" aria-hidden="true">
            <path d="M3 16h6l3.5-9 5 18 3.5-9h8" />
          </svg>
          aepoch
        </h1>
        <nav aria-label="Views">
          {VIEWS.map((one, index) => (
            <a key={one} href={`#/${one}`} aria-current={one === now ? "page" : undefined} aria-keyshortcuts={String(index + 1)}>
              {TITLES[one]}
            </a>
          ))}
        </nav>
        <Where />
        <Standing />
        <OnlineSwitch />
        <ThemeChoice />
      </header>
      <main id="main" tabIndex={-1} aria-label={TITLES[now]} class={`view-${now}`}>
        {askedFor.value !== undefined ? <CredentialForm asked={askedFor.value} /> : session.value ? <Shown /> : <Waiting />}
      </main>
      <Toast />
    </>
  );
}

function press(event: KeyboardEvent): void {
  const isField = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
  if (isField || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = VIEWS[Number(event.key) - 1];
  if (to) go(to);
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector<HTMLInputElement>("input.filter")?.focus();
  }
}

function Waiting(): JSX.Element {
  if (!health.value) return <p class="nothing">Looking for the relay…</p>;
  if (swarms().length === 0) return <p class="nothing">The relay runs. No agent has written a document yet: the first one to appear is shown here.</p>;
  return <p class="nothing">Joining {swarm.value}…</p>;
}

function Where(): JSX.Element {
  const [all, now] = [documents(), session.value?.current.value];
  return (
    <div class="where">
      <label>
        <span>swarm</span>
        <select value={swarm.value ?? ""} onChange={(event) => (swarm.value = event.currentTarget.value)}>
          {swarms().map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      <label>
        <span>document</span>
        <select
          value={now?.name ?? ""}
          onChange={(event) => {
            const chosen = all.find(({ document }) => document === `${swarm.value}/${event.currentTarget.value}`);
            if (chosen) chooseDocument(chosen);
          }}
        >
          {!now && <option value="">none</option>}
          {all.map(({ document }) => {
            const name = document.slice((swarm.value ?? "").length + 1);
            return <option key={name}>{name}</option>;
          })}
        </select>
      </label>
    </div>
  );
}

function Standing(): JSX.Element {
  const status = session.value?.status.value;
  const isOnline = session.value?.isOnline.value ?? true;
  const tone = !isOnline ? "quiet" : status?.online ? "good" : "bad";
  return (
    <div class="standing" role="status">
      <Lamp tone={tone}>{!isOnline ? "cut off" : status?.online ? "connected" : status ? "no relay" : "–"}</Lamp>
      {status && status.unsynced > 0 && <span class="warn-text" title={status.stalled ?? undefined}>{status.unsynced} unsynced</span>}
    </div>
  );
}

function ThemeChoice(): JSX.Element {
  return (
    <label class="theme">
      <span class="unseen">Theme</span>
      <select value={choice.value} onChange={(event) => choose(event.currentTarget.value as Choice)}>
        <option value="system">system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  );
}

function Toast(): JSX.Element {
  const trouble = latest.value;
  useEffect(() => {
    if (!trouble) return undefined;
    const timer = setTimeout(() => (latest.value = undefined), TROUBLE_MS);
    return () => clearTimeout(timer);
  }, [trouble]);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {trouble && (
        <p class="toast">
          <b>{trouble.source}</b> {trouble.text}
          <button aria-label="Dismiss" onClick={() => (latest.value = undefined)}>×</button>
        </p>
      )}
    </div>
  );
}
