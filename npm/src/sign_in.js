import { sleep } from "./machine.js"
import { control } from "./tunnel.js"

export const SIGN_IN_SECONDS = 900

export const METHODS = [
  { id: "builder-id", label: "AWS Builder ID (IDC)", fields: [] },
  {
    id: "idc",
    label: "AWS SSO (IAM Identity Center)",
    fields: [
      {
        key: "startUrl",
        title: "Start URL of your organisation (empty: as configured)",
        placeholder: "https://d-xxxxxxxxxx.awsapps.com/start",
      },
      {
        key: "region",
        title: "AWS region of your IAM Identity Center (empty: as configured)",
        placeholder: "us-east-1",
      },
    ],
  },
]

/** Begin a sign-in in the gateway. @param {string} method @param {Record<string, string>} answers */
export async function beginSignIn(method, answers) {
  const { id, url, code, notice } = await control("login", { method, ...answers })
  return { id, url, instructions: `Confirm the code ${code} in the browser${notice ? `. ${notice}` : ""}` }
}

/** Wait for the end of a sign-in; what there is to say of it. Rejects with the reason when it failed. @param {string} id @param {AbortSignal} [signal] @returns {Promise<string[]>} */
export async function endOfSignIn(id, signal) {
  for (const end = Date.now() + SIGN_IN_SECONDS * 1000; Date.now() < end;) {
    await sleep(1000, signal)
    if (signal?.aborted) throw new Error("The sign-in was given up, as OpenCode unloaded the plugin")
    const { status, message, notices } = await control(`login/${id}`)
    if (status === "done") return notices ?? []
    if (status === "failed") throw new Error(message)
  }
  throw new Error("The sign-in was not confirmed in time")
}
