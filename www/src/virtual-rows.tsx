/** A long table of which only the rows in sight exist, so that a thousand agents cost as much as thirty. */

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Column<T> {
  title: string;
  /** A track of the grid: `12ch`, `1fr`, `minmax(10ch, 2fr)`. */
  width: string;
  cell: (row: T) => ComponentChildren;
  isNumber?: boolean;
  /** Sorts by it when its title is pressed. */
  order?: (a: T, b: T) => number;
}

export interface RowsProps<T> {
  label: string;
  rows: readonly T[];
  columns: readonly Column<T>[];
  keyOf: (row: T) => string;
  empty: ComponentChildren;
  /** Said of a row by its colour too, never by it alone. */
  toneOf?: (row: T) => "warn" | "bad" | "quiet" | undefined;
  /** Fewer pixels than a page. */
  height?: number;
}

const ROW = 30;
const BEYOND = 8;

export function VirtualRows<T>({ label, rows, columns, keyOf, empty, toneOf, height }: RowsProps<T>): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(600);
  const [sorting, setSorting] = useState<{ column: number; isReversed: boolean } | undefined>();

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return undefined;
    const watch = new ResizeObserver(() => setRoom(element.clientHeight));
    watch.observe(element);
    return () => watch.disconnect();
  }, []);

  const order = sorting && columns[sorting.column]?.order;
  const sorted = order ? [...rows].sort((a, b) => (sorting.isReversed ? order(b, a) : order(a, b))) : rows;
  const first = Math.max(0, Math.floor(top / ROW) - BEYOND);
  const shown = sorted.slice(first, Math.ceil((top + room) / ROW) + BEYOND + BEYOND / 2);
  const grid = { gridTemplateColumns: columns.map(({ width }) => width).join(" ") };
  const press = (column: number): void =>
    setSorting((now) => (now?.column !== column ? { column, isReversed: false } : now.isReversed ? undefined : { column, isReversed: true }));

  return (
    <div
      ref={scroller}
      class="rows"
      style={height === undefined ? {} : { maxHeight: `${height}px` }}
      tabIndex={0}
      role="table"
      aria-label={label}
      aria-rowcount={rows.length + 1}
      // Made anew only every few rows; those beyond the edge are there meanwhile.
      onScroll={(event) => setTop(event.currentTarget.scrollTop - (event.currentTarget.scrollTop % (ROW * (BEYOND / 2))))}
    >
      <div role="rowgroup" class="rows-head">
        <div role="row" aria-rowindex={1} class="row" style={grid}>
          {columns.map(({ title, isNumber, order: isSortable }, index) => {
            const isBy = sorting?.column === index;
            const sort = isBy ? (sorting.isReversed ? "descending" : "ascending") : "none";
            return (
              <div key={title} role="columnheader" aria-sort={sort} class={isNumber ? "number" : ""}>
                {isSortable ? (
                  <button class="sorts" onClick={() => press(index)}>
                    {title}
                    <span aria-hidden="true">{isBy ? (sorting.isReversed ? " ↓" : " ↑") : ""}</span>
                  </button>
                ) : (
                  title
                )}
              </div>
            );
          })}
        </div>
      </div>
      {rows.length === 0 ? (
        <div class="nothing">{empty}</div>
      ) : (
        <div role="rowgroup" class="rows-body" style={{ height: `${rows.length * ROW}px` }}>
          {shown.map((row, index) => (
            <div
              key={keyOf(row)}
              role="row"
              aria-rowindex={first + index + 2}
              class={`row tone-${toneOf?.(row) ?? "none"}`}
              style={{ ...grid, transform: `translateY(${(first + index) * ROW}px)` }}
            >
              {columns.map((column) => (
                <div key={column.title} role="cell" class={column.isNumber ? "number" : ""}>
                  {column.cell(row)}
                </div>
              ))}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}
