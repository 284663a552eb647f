/** Asks for a credential, where the relay does. */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { agentOf, checkKey, useCredential } from "./credential.js";
import { askedFor } from "./session.js";

export function CredentialForm({ asked }: { asked: string }): JSX.Element {
  const id = useId();
  const [token, setToken] = useState("");
  const [key, setKey] = useState("");
  const [wrong, setWrong] = useState<string | undefined>();
  const show = (event: SubmitEvent): void => {
    event.preventDefault();
    try {
      agentOf(token);
      checkKey(key);
    } catch (thrown) {
      setWrong((thrown as Error).message);
      return;
    }
    setWrong(undefined);
    useCredential({ token: token.trim(), key: key.trim() });
    askedFor.value = undefined;
  };
  return (
    <form class="credential panel" onSubmit={show}>
      <h2>This relay asks who you are</h2>
      <p class="prose">
        {asked}. What you enter stays in this tab until it is closed: it is sent to this relay in messages and headers, never in an address, and the key does not leave the page.
      </p>
      <label for={`${id}t`}>Token</label>
      <textarea id={`${id}t`} rows={4} spellcheck={false} autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value)} />
      <label for={`${id}k`}>Its private key, as JWK</label>
      <textarea id={`${id}k`} rows={3} spellcheck={false} autocomplete="off" value={key} onInput={(event) => setKey(event.currentTarget.value)} />
      {wrong && <p role="alert" class="bad-text">{wrong}</p>}
      <button class="primary" disabled={token === "" || key === ""}>Show it</button>
    </form>
  );
}
