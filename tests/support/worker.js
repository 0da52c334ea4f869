// A worker that runs the SQL of a request on its ledger and answers with the rows.
export default {
  async fetch(request, env) {
    const sql = await request.text();
    try {
      return Response.json(await env.DB.prepare(sql).raw());
    } catch (error) {
      return Response.json({ error: String(error) });
    }
  },
};
