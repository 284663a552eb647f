/** Errors: one class for each code, so that both `instanceof` and `code` tell them apart. */

/** What every error of this package is. `code` stays the same over versions; `message` is for people. */
export class AepochError<C extends string = string> extends Error {
  /** Which error it is. */
  readonly code: C;

  constructor(code: C, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = `${code}Error`;
  }
}

/** A bad name of an agent, swarm, document or object. */
export class NameError extends AepochError<"Name"> {}
/** The store failed. What it was given is kept in memory and tried again. */
export class StoreError extends AepochError<"Store"> {}
/** The store has no room left: see `navigator.storage.estimate()`. */
export class QuotaExceededError extends AepochError<"QuotaExceeded"> {}
/** There is no store here: a private window, a blocked one, or no browser at all. */
export class StorageUnavailableError extends AepochError<"StorageUnavailable"> {}
/** The agent refused: no seat, spoken already, held by somebody else, too large. */
export class NodeError extends AepochError<"Node"> {}
/** Something is in use: a document that is being loaded, a store of another agent. */
export class BusyError extends AepochError<"Busy"> {}
/** The document refused. */
export class DocumentError extends AepochError<"Document"> {}
/** A peer did not answer. */
export class NoAnswerError extends AepochError<"NoAnswer"> {}
/** An address could not be used. */
export class TransportError extends AepochError<"Transport"> {}
/** A value has no JSON text, or the JSON text is of something else. */
export class EncodeError extends AepochError<"Encode"> {}
/** An object of that name differs; the message says in what. */
export class NameTakenError extends AepochError<"NameTaken"> {}
/** More agents than `atMost` allows. */
export class TooManyAgentsError extends AepochError<"TooManyAgents"> {}
/** The swarm has no such agent. */
export class UnknownError extends AepochError<"Unknown"> {}
/** Another phase's turn, or no phase of the epoch. */
export class WrongPhaseError extends AepochError<"WrongPhase"> {}
/** No option of the poll. */
export class NoOptionError extends AepochError<"NoOption"> {}
/** A relay does not take this agent's writes. They stay here and are offered again on the next connection. */
export class ForbiddenError extends AepochError<"Forbidden"> {}
/** The credential cannot be read. */
export class CredentialError extends AepochError<"Credential"> {}
/** The credential is of another agent. */
export class OthersCredentialError extends AepochError<"OthersCredential"> {}
/** The agent, or this handle, has been closed. */
export class ClosedError extends AepochError<"Closed"> {}
/** A fault of this library; please report it. */
export class InternalError extends AepochError<"Internal"> {}
/** The module has failed and is built anew from the store. What was neither persisted nor flushed is lost. */
export class PanicError extends AepochError<"Panic"> {}

/** A wait was ended by its `AbortSignal`, whose reason is the `cause`. Nothing else was undone. */
export class AbortedError extends AepochError<"Aborted"> {
  constructor(code: "Aborted", message: string, options?: ErrorOptions) {
    super(code, message, options);
    this.name = "AbortError";
  }
}

/** The tab that did the work is gone: whether this was done is not known, and it cannot be done twice. */
export class InterruptedError extends AepochError<"Interrupted"> {
  /** False when it surely was not done. */
  readonly begun: boolean;

  constructor(code: "Interrupted", message: string, options?: ErrorOptions & { begun?: boolean }) {
    super(code, message, options);
    this.begun = options?.begun ?? true;
  }
}

const CLASSES = {
  Name: NameError,
  Store: StoreError,
  QuotaExceeded: QuotaExceededError,
  StorageUnavailable: StorageUnavailableError,
  Node: NodeError,
  Busy: BusyError,
  Document: DocumentError,
  NoAnswer: NoAnswerError,
  Transport: TransportError,
  Encode: EncodeError,
  NameTaken: NameTakenError,
  TooManyAgents: TooManyAgentsError,
  Unknown: UnknownError,
  WrongPhase: WrongPhaseError,
  NoOption: NoOptionError,
  Forbidden: ForbiddenError,
  Credential: CredentialError,
  OthersCredential: OthersCredentialError,
  Closed: ClosedError,
  Internal: InternalError,
  Panic: PanicError,
  Aborted: AbortedError,
  Interrupted: InterruptedError,
} as const;

/** The codes of this package's errors. */
export type ErrorCode = keyof typeof CLASSES;

/** The error of a code; `Internal` when there is no such code. */
export function errorOf(code: string, message: string, cause?: unknown): AepochError {
  const options = cause === undefined ? undefined : { cause };
  if (!Object.hasOwn(CLASSES, code)) return new InternalError("Internal", message, options);
  const known = CLASSES[code as ErrorCode] as new (
    code: string,
    message: string,
    options?: ErrorOptions,
  ) => AepochError;
  return new known(code, message, options);
}

/** The engine of the browser gave up inside the module, which is of no use afterwards. */
export function isTrap(thrown: unknown): boolean {
  return thrown instanceof WebAssembly.RuntimeError || (thrown instanceof RangeError && /stack/i.test(thrown.message));
}

/** Anything thrown, as an error of this package. */
export function toError(thrown: unknown): AepochError {
  if (thrown instanceof AepochError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = typeof thrown === "object" && thrown !== null && "code" in thrown ? thrown.code : undefined;
  return errorOf(typeof code === "string" ? code : "Internal", message, thrown);
}
