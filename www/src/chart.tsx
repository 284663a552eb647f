/** Series over time, drawn by uPlot in the colours of the theme. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clock } from "./format.js";
import { colour, theme } from "./theme.js";

export interface Line {
  label: string;
  /** A colour of the theme. */
  ink: string;
  values: readonly (number | null)[];
  /** Drawn with dashes: to be told apart without colour. */
  isDashed?: boolean;
}

export interface ChartProps {
  title: string;
  /** Milliseconds since 1970. */
  times: readonly number[];
  lines: readonly Line[];
  read: (value: number) => string;
}

const HEIGHT = 132;

export function Chart({ title, times, lines, read }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const data = [times.map((time) => time / 1000), ...lines.map(({ values }) => values)] as uPlot.AlignedData;
  const now = theme.value;
  const labels = lines.map(({ label }) => label).join();

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const made = new uPlot(
      {
        width: Math.max(120, element.clientWidth),
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, 10, 0, 0],
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(4, (high ?? 0) * 1.1)] } },
        axes: [
          { ...axis, size: 24, space: 80, values: (_, marks) => marks.map((mark) => clock(mark * 1000)) },
          { ...axis, size: 62, space: 32, values: (_, marks) => marks.map((mark) => read(mark)) },
        ],
        series: [
          {},
          ...lines.map(({ label, ink, isDashed }) => ({
            label,
            stroke: colour(ink),
            width: 1.5,
            points: { show: false },
            ...(isDashed && { dash: [5, 3] }),
          })),
        ],
      },
      data,
      element,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: Math.max(120, element.clientWidth), height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = undefined;
    };
    // Drawn anew with other colours or lines; new values go in below.
  }, [now, labels]);

  useEffect(() => plot.current?.setData(data));

  const latest = (values: readonly (number | null)[]): string => {
    const value = values.at(-1);
    return value === null || value === undefined ? "–" : read(value);
  };
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <span class="keys">
          {lines.map(({ label, ink, values, isDashed }) => (
            <span key={label}>
              <i class={`key ink-${ink} ${isDashed ? "dashed" : ""}`} aria-hidden="true" />
              {label} <b>{latest(values)}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={place} aria-hidden="true" />
    </figure>
  );
}
