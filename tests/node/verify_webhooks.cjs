// Says which deliveries the verifiers of npm accept. Standard input: a JSON list of {secret, headers, body};
// standard output: for each one {standardwebhooks, svix}, true where it was accepted.
const { Webhook: Standard } = require("standardwebhooks");
const { Webhook: Svix } = require("svix");

function accepts(Verifier, delivery) {
  try {
    new Verifier(delivery.secret).verify(delivery.body, delivery.headers);
    return true;
  } catch {
    return false;
  }
}

const deliveries = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(
  JSON.stringify(
    deliveries.map((one) => ({ standardwebhooks: accepts(Standard, one), svix: accepts(Svix, one) })),
  ),
);
