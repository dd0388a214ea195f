// Sends a form and tells how far it is; fetch cannot do that yet.

/** Gives the job, or throws {answer, retryAfter}; `answer` is null if the connection broke off. */
export function send(url, form, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.upload.addEventListener("load", () => progress(1));
    request.addEventListener("load", () => {
      if (request.status === 202 && request.response) resolve(request.response);
      else reject({ answer: request.response ?? {}, retryAfter: request.getResponseHeader("Retry-After") });
    });
    for (const event of ["error", "timeout", "abort"]) {
      request.addEventListener(event, () => reject({ answer: null, aborted: event === "abort" }));
    }
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(form);
  });
}
