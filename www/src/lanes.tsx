/** Barriers and their kin as lanes over time. Drawn, because it moves; the table beside it says the same in words. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Lane, MarkKind } from "./timeline.js";
import { clock } from "./format.js";
import { colour, theme, wantsStillness } from "./theme.js";

const HEIGHT = 34;
const HEAD = 22;
const NAMES = 190;

/** Mark by mark: how it looks besides its colour. */
const SHAPES: Record<MarkKind, { ink: string; shape: "tick" | "cross" | "diamond" | "ring" }> = {
  arrived: { ink: "accent", shape: "tick" },
  declined: { ink: "warn", shape: "cross" },
  complete: { ink: "good", shape: "diamond" },
  degraded: { ink: "warn", shape: "diamond" },
  shortfall: { ink: "bad", shape: "diamond" },
  broken: { ink: "bad", shape: "cross" },
  over: { ink: "soft", shape: "diamond" },
  late: { ink: "bad", shape: "ring" },
};

export function Lanes({ lanes, windowMs }: { lanes: readonly Lane[]; windowMs: number }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef({ lanes, windowMs });
  drawn.current = { lanes, windowMs };
  const now = theme.value;

  useEffect(() => {
    let frame = 0;
    let timer = 0;
    const next = (): void => {
      const element = canvas.current;
      if (element) draw(element, drawn.current.lanes, drawn.current.windowMs);
      if (wantsStillness.matches) timer = setTimeout(next, 1_000) as unknown as number;
      else frame = requestAnimationFrame(next);
    };
    next();
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }, [now]);

  const height = HEAD + Math.max(1, lanes.length) * HEIGHT;
  return (
    <div class="lanes" tabIndex={0} role="img" aria-label={`${lanes.length} objects over the last ${windowMs / 1000} seconds; the table below says how each stands`}>
      <canvas ref={canvas} style={{ height: `${height}px` }} />
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, lanes: readonly Lane[], windowMs: number): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const now = Date.now();
  const from = now - windowMs;
  const x = (at: number): number => NAMES + ((at - from) / windowMs) * (width - NAMES - 12);
  const step = windowMs / 6;
  context.font = "11px system-ui";
  context.textBaseline = "middle";
  for (let at = Math.ceil(from / step) * step; at <= now; at += step) {
    context.fillStyle = colour("line");
    context.fillRect(x(at), HEAD - 4, 1, height);
    context.fillStyle = colour("soft");
    context.textAlign = "center";
    context.fillText(clock(at), Math.min(x(at), width - 30), 9);
  }
  const inks = new Map(Object.values(SHAPES).map(({ ink }) => [ink, colour(ink)]));
  const [ink, soft, lane] = [colour("ink"), colour("soft"), colour("lane")];
  // Only what is in sight of the scroller is drawn.
  const scroller = canvas.parentElement;
  const [top, bottom] = [scroller?.scrollTop ?? 0, (scroller?.scrollTop ?? 0) + (scroller?.clientHeight ?? height)];
  lanes.forEach((one, index) => {
    const middle = HEAD + index * HEIGHT + HEIGHT / 2;
    if (middle + HEIGHT < top || middle - HEIGHT > bottom) return;
    context.textAlign = "left";
    context.fillStyle = ink;
    context.font = "600 12px system-ui";
    context.fillText(fitted(context, one.name, NAMES - 78), 4, middle);
    context.font = "11px system-ui";
    context.fillStyle = soft;
    context.textAlign = "right";
    context.fillText(one.kind, NAMES - 10, middle);
    context.fillStyle = lane;
    const [left, right] = [Math.max(NAMES, x(one.from)), Math.min(width - 12, x(one.until ?? now))];
    if (right > left) context.fillRect(left, middle - 9, right - left, 18);
    for (const { at, kind, tier, isEarlier } of one.marks) {
      if (at < from) continue;
      const { ink: name, shape } = SHAPES[kind];
      context.fillStyle = context.strokeStyle = inks.get(name) ?? ink;
      stroke(context, shape, x(at), middle, tier, isEarlier);
    }
  });
}

function stroke(context: CanvasRenderingContext2D, shape: "tick" | "cross" | "diamond" | "ring", x: number, y: number, tier: number, isEarlier: boolean): void {
  context.lineWidth = 1.8;
  context.beginPath();
  switch (shape) {
    case "tick": {
      // A tier's arrivals stand in a row of their own.
      const row = y - 6 + Math.min(2, tier) * 4;
      context.moveTo(x, row - 3);
      context.lineTo(x, row + 3);
      context.stroke();
      break;
    }
    case "cross":
      context.moveTo(x - 4, y - 4);
      context.lineTo(x + 4, y + 4);
      context.moveTo(x + 4, y - 4);
      context.lineTo(x - 4, y + 4);
      context.stroke();
      break;
    case "diamond":
      context.moveTo(x, y - 7);
      context.lineTo(x + 6, y);
      context.lineTo(x, y + 7);
      context.lineTo(x - 6, y);
      context.closePath();
      if (isEarlier) context.stroke();
      else context.fill();
      break;
    case "ring":
      context.arc(x, y, 4, 0, 2 * Math.PI);
      context.stroke();
      break;
  }
}

function fitted(context: CanvasRenderingContext2D, text: string, width: number): string {
  if (context.measureText(text).width <= width) return text;
  let cut = text;
  while (cut.length > 1 && context.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
  return `${cut}…`;
}
