// Each event exactly once and in order, out of deliveries that repeat, overtake one another and get lost.
//
// A sequence at or below the cursor was handled; the next one is handled; one further on means that something is
// missing, which is pulled first.

import { createRequire } from "node:module";

const { Webhook } = createRequire(import.meta.url)("standardwebhooks");

export type Event = {
  id: string;
  sequence: number;
  previous_sequence: number;
  type: string;
  created_at: string;
  data: { object: Record<string, unknown> };
};

/** A consumer's place, inside a transaction of its own. `connection` is handed to `handle`. */
export type Position<Connection> = {
  connection: Connection;
  read(): Promise<number>;
  move(sequence: number): Promise<void>;
};

/** One transaction at a time for a stream; it commits when `work` resolves and rolls back when it rejects. */
export type CursorStore<Connection> = {
  transaction<Result>(work: (position: Position<Connection>) => Promise<Result>): Promise<Result>;
};

export type Receipt = { handled: number[]; duplicate: boolean };

/** Not from Ledgerline, changed on the way, or more than 300 seconds off. Answer 400. */
export class SignatureError extends Error {}

/** Events are missing and pulling did not bring them; nothing was handled. Answer 500: it is sent again. */
export class GapError extends Error {}

export type ConsumerOptions<Connection> = {
  secrets: string[];
  store: CursorStore<Connection>;
  handle: (event: Event, connection: Connection) => Promise<void> | void;
  /** The events after a sequence, oldest first. Without it a gap is an error. */
  pull?: (after: number) => AsyncIterable<Event>;
};

export class WebhookConsumer<Connection> {
  private readonly options: ConsumerOptions<Connection>;

  constructor(options: ConsumerOptions<Connection>) {
    this.options = options;
  }

  /** Take one delivery. Answer 2xx once this has resolved, and only then. */
  async receive(headers: Record<string, string>, body: string): Promise<Receipt> {
    const event = this.verified(headers, body);
    return this.options.store.transaction(async (position) => {
      const cursor = await position.read();
      if (event.sequence <= cursor) return { handled: [], duplicate: true };
      const handled = event.sequence > cursor + 1 ? await this.fill(position, cursor, event.sequence) : [];
      await this.take(position, event, handled);
      return { handled, duplicate: false };
    });
  }

  private async fill(position: Position<Connection>, cursor: number, sequence: number): Promise<number[]> {
    const handled: number[] = [];
    let last = cursor;
    if (this.options.pull) {
      for await (const event of this.options.pull(cursor)) {
        if (event.sequence >= sequence) break;
        if (event.sequence !== last + 1) throw new GapError(`after ${last} came ${event.sequence}`);
        await this.take(position, event, handled);
        last = event.sequence;
      }
    }
    if (last !== sequence - 1) throw new GapError(`events ${last + 1} to ${sequence - 1} are missing`);
    return handled;
  }

  private async take(position: Position<Connection>, event: Event, handled: number[]): Promise<void> {
    await this.options.handle(event, position.connection);
    await position.move(event.sequence);
    handled.push(event.sequence);
  }

  private verified(headers: Record<string, string>, body: string): Event {
    for (const secret of this.options.secrets) {
      try {
        new Webhook(secret).verify(body, headers);
      } catch {
        continue;
      }
      return JSON.parse(body) as Event;
    }
    throw new SignatureError("no signature of this delivery fits");
  }
}
