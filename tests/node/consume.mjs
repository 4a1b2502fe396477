// Feeds deliveries to the TypeScript SDK's consumer. Standard input: {secret, deliveries: [{headers, body}], events};
// standard output: {receipts, handled}, where a receipt is what `receive` gave or the name of its error.
import { readFileSync } from "node:fs";
import { WebhookConsumer } from "../../sdk/typescript/src/consumer.ts";

const given = JSON.parse(readFileSync(0, "utf8"));
let cursor = 0;
const handled = [];
const store = {
  async transaction(work) {
    const before = [cursor, handled.length];
    try {
      return await work({ connection: handled, read: async () => cursor, move: async (to) => void (cursor = to) });
    } catch (error) {
      [cursor, handled.length] = before;
      throw error;
    }
  },
};
const consumer = new WebhookConsumer({
  secrets: [given.secret],
  store,
  handle: (event, seen) => void seen.push(event.sequence),
  pull: async function* (after) {
    yield* given.events.filter((event) => event.sequence > after);
  },
});
const receipts = [];
for (const one of given.deliveries) {
  receipts.push(await consumer.receive(one.headers, one.body).catch((error) => error.constructor.name));
}
console.log(JSON.stringify({ receipts, handled }));
