/** Values, and their JSON text. */

import { EncodeError } from "./errors.js";
import type { Json } from "./raw.js";

/** What JSON can say. NaN and infinities have no place in it and become null. */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };

/** The JSON text of a value. */
export function encode(value: unknown): Json {
  let text: string | undefined;
  try {
    text = JSON.stringify(value) as string | undefined;
  } catch (cause) {
    throw new EncodeError("Encode", `value cannot be encoded: ${String(cause)}`, { cause });
  }
  if (text === undefined) throw new EncodeError("Encode", `value cannot be encoded: it is ${typeof value}`);
  return text;
}

/** The value of a JSON text that the module wrote. That it is a `T` is the word of whoever wrote the value. */
export function decode<T>(text: Json): T {
  return JSON.parse(text) as T;
}

/** The same, where there may be none. */
export function decodeIf<T>(text: Json | undefined): T | undefined {
  return text === undefined ? undefined : decode<T>(text);
}
